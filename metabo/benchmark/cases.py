"""Comparisons: a family to learn from, and tasks left out of it to be judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from metabo.benchmark.datasets import dnase, hpobench, soybean
from metabo.benchmark.few_shot import Episode, few_shot, grid_episode, table_episode
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Exact, Metabo, Predictor, Random, Searcher, VanillaGP
from metabo.benchmark.problems import NetBenefit, Problem, Target, grid_problem, table_problem
from metabo.benchmark.run import Rows
from metabo.objective import Objective
from metabo.prior import Prior
from metabo.tasks import FunctionFamily, LogisticFamily, TableFamily, TaskFamily

# Objectives whose optimum moves from task to task.
LOGISTIC: Mapping[str, Objective | None] = {
    "net benefit": NetBenefit(0.8, -4.0),
    "target": Target(0.7),
}
_UNSEEN = 1_000_000  # added to the seed of training tasks: no training task is drawn with it


@dataclass(frozen=True, eq=False)
class Case:
    """One comparison; training and test tasks are disjoint.

    Attributes:
        name: What it is called in tables.
        family: What is meta-trained on.
        episodes: Other tasks, to predict from a few observations.
        counts: Numbers of observations to predict from.
        problems: Other tasks, to optimise.
        evaluations: How many evaluations each gets.
        exact: Whether exact Bayes takes part where the family is known: with many parameters its
            draws are too few to be exact.
    """

    name: str
    family: TaskFamily
    episodes: Sequence[Episode]
    counts: Sequence[int]
    problems: Sequence[Problem]
    evaluations: int
    exact: bool = True

    def predictors(self, prior: Prior) -> list[Predictor]:
        """Who predicts: exact Bayes too, where the family is known."""
        return [VanillaGP(), Metabo(prior), *self.bound()]

    def searchers(self, prior: Prior) -> list[Searcher]:
        """Who optimises: exact Bayes too, where the family is known."""
        return [Random(), VanillaGP(), Metabo(prior), *self.bound()]

    def bound(self) -> list[Exact]:
        """Exact Bayes, where it can be had."""
        if self.exact and isinstance(self.family, FunctionFamily):
            return [Exact(self.family)]
        return []

    def few_shot_cells(self, prior: Prior, *, seed: int) -> list[Callable[[], Rows]]:
        """Every method on every episode."""
        return [
            partial(few_shot, self.name, method, episode, self.counts, seed=seed)
            for episode in self.episodes
            for method in self.predictors(prior)
        ]

    def search_cells(self, prior: Prior, *, seeds: Sequence[int]) -> list[Callable[[], Rows]]:
        """Every method on every problem with every seed."""
        return [
            partial(optimise, problem, method, self.evaluations, seed=seed)
            for problem in self.problems
            for seed in seeds
            for method in self.searchers(prior)
        ]


def logistic_case(num_episodes: int, num_problems: int, *, seed: int) -> Case:
    """Logistic curves: prediction, and two objectives whose optimum moves from task to task.

    Maximising the response itself is trivial: it is largest at the upper bound.
    """
    family = LogisticFamily()
    case = closed_form_case("logistic", family, LOGISTIC, num_problems, evaluations=10, seed=seed)
    tasks = family.tasks(num_episodes, 10, seed=seed + _UNSEEN) if num_episodes else []
    episodes = [
        grid_episode(task, noise_sd=family.noise_sd, seed=seed + i) for i, task in enumerate(tasks)
    ]
    return replace(case, episodes=episodes, counts=(1, 2, 3, 5, 8, 10))


def closed_form_case(
    name: str,
    family: FunctionFamily,
    objectives: Mapping[str, Objective | None],
    num_problems: int,
    *,
    evaluations: int,
    seed: int,
    num_candidates: int = 200,
    exact: bool = True,
) -> Case:
    """Tasks that are drawn from a family in closed form with a seed of their own.

    Args:
        name: Of the case.
        family: What is meta-trained on.
        objectives: By the name of the problem; each on all of the tasks.
        num_problems: How many tasks.
        evaluations: How many evaluations each search gets.
        seed: Of the tasks.
        num_candidates: As in `grid_problem`.
        exact: As in `Case`.
    """
    tasks = family.tasks(num_problems, 10, seed=seed + _UNSEEN) if num_problems else []
    problems = [
        grid_problem(
            f"{name}, {job}" if job else name,
            task,
            noise_sd=family.noise_sd,
            objective=objective,
            num_candidates=num_candidates,
        )
        for job, objective in objectives.items()
        for task in tasks
    ]
    return Case(name, family, [], (), problems, evaluations, exact)


def left_out_case(
    name: str, table: Callable[[], TableFamily], left_out: Sequence[str], *, evaluations: int
) -> Case:
    """Tasks of a table, after all others of the table.

    Args:
        name: Of the case and of its problems.
        table: Gives the table.
        left_out: The names of the tasks to optimise.
        evaluations: How many evaluations each search gets.
    """
    family = table()
    problems = [table_problem(name, task) for task in family.only(left_out).tasks()]
    return Case(name, family.without(left_out), [], (), problems, evaluations)


def soybean_case(max_tasks: int | None = None, *, seed: int) -> Case:
    """Growth of plots left out; find the day on which leaves weigh 5 g a plant."""
    return _curves("soybean", soybean(), Target(5.0), "day of 5 g", max_tasks, seed)


def dnase_case(max_tasks: int | None = None, *, seed: int) -> Case:
    """Assay runs left out; find the concentration at an optical density of 1."""
    return _curves("DNase", dnase(), Target(1.0), "density of 1", max_tasks, seed)


def _curves(
    name: str, table: TableFamily, target: Target, job: str, max_tasks: int | None, seed: int
) -> Case:
    """Every fourth curve is left out; the seed decides where to begin to count.

    Of these, at most `max_tasks` are scored.
    """
    left_out = table.names[seed % 4 :: 4]
    tasks = table.only(left_out).tasks()[:max_tasks]
    return Case(
        name=name,
        family=table.without(left_out),
        episodes=[table_episode(task, 5, seed=seed + i) for i, task in enumerate(tasks)],
        counts=(1, 2, 3, 5),
        problems=[table_problem(f"{name}, {job}", task, objective=target) for task in tasks],
        evaluations=6,
    )


def hpobench_case(left_out: str, *, num_settings: int | None, evaluations: int, seed: int) -> Case:
    """Tuning of neural networks on one data set, after tuning them on the seven others.

    Args:
        left_out: The data set.
        num_settings: How many of the 30,000 settings are there to choose from; all if None.
        evaluations: How many evaluations each method gets.
        seed: Of the settings, and of the observations to predict from.
    """
    table = hpobench(num_settings, seed=seed)
    case = left_out_case("HPOBench", lambda: table, [left_out], evaluations=evaluations)
    episode = table_episode(table.only(left_out).tasks()[0], 10, seed=seed)
    return replace(case, episodes=[episode], counts=(1, 2, 3, 5, 8, 10))
