"""Comparisons: a family to learn from, and tasks left out of it to be judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """

    name: str
    family: TaskFamily
    episodes: Sequence[Episode]
    counts: Sequence[int]
    problems: Sequence[Problem]
    evaluations: int

    def predictors(self, prior: Prior) -> list[Predictor]:
        """Who predicts: exact Bayes too, where the family is known."""
        return [VanillaGP(), Metabo(prior), *self._bound()]

    def searchers(self, prior: Prior) -> list[Searcher]:
        """Who optimises: exact Bayes too, where the family is known."""
        return [Random(), VanillaGP(), Metabo(prior), *self._bound()]

    def _bound(self) -> list[Exact]:
        return [Exact(self.family)] if isinstance(self.family, FunctionFamily) else []

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
    tasks = family.tasks(max(num_episodes, num_problems), 10, seed=seed + _UNSEEN)
    objectives: dict[str, Objective] = {
        "logistic, net benefit": NetBenefit(0.8, -4.0),
        "logistic, target": Target(0.7),
    }
    problems = [
        grid_problem(name, task, noise_sd=family.noise_sd, objective=objective)
        for name, objective in objectives.items()
        for task in tasks[:num_problems]
    ]
    episodes = [
        grid_episode(task, noise_sd=family.noise_sd, seed=seed + i)
        for i, task in enumerate(tasks[:num_episodes])
    ]
    return Case("logistic", family, episodes, (1, 2, 3, 5, 8, 10), problems, 10)


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


def hpobench_case(
    left_out: str, *, num_settings: int | None, evaluations: int, seed: int, predict: bool = True
) -> Case:
    """Tuning of neural networks on one data set, after tuning them on the seven others.

    Args:
        left_out: The data set.
        num_settings: How many of the 30,000 settings are there to choose from; all if None.
        evaluations: How many evaluations each method gets.
        seed: Of the settings, and of the observations to predict from.
        predict: Whether to score predictions too.
    """
    table = hpobench(num_settings, seed=seed)
    task = table.only(left_out).tasks()[0]
    return Case(
        name="HPOBench",
        family=table.without(left_out),
        episodes=[table_episode(task, 10, seed=seed)] if predict else [],
        counts=(1, 2, 3, 5, 8, 10),
        problems=[table_problem("HPOBench", task)],
        evaluations=evaluations,
    )
