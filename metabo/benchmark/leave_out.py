"""Is a prior worth it? Tasks of a table are left out of training and optimised anew."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Metabo, Random, Searcher, VanillaGP
from metabo.benchmark.metrics import Difference, paired_difference
from metabo.benchmark.problems import Problem, table_problem
from metabo.benchmark.run import Rows, run_rows
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.optimizer import PriorCollapsedWarning
from metabo.tasks.tables import TableFamily

_MAX_FOLDS = 8
_MAX_TASKS = 40  # to optimise: more would take long and say little more
_MAX_CANDIDATES = 1000
_CLEAR = 0.05  # the p below which a difference is clear


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        answer: "worth it", "not worth it" or "not clear".
        baseline: The better of the methods without a prior.
        gain: By how much its regret is larger than with a prior, paired by task.
        num_tasks: How many tasks were compared.
    """

    answer: str
    baseline: str
    gain: Difference
    num_tasks: int


def a_part(family: TableFamily, settings: MetaTrainSettings, *, seed: int) -> TableFamily:
    """As many tasks and runs as a comparison looks at, drawn at random; all, if there are no more.

    Args:
        family: The tasks.
        settings: Of meta-training, which looks at no more either.
        seed: The same seed draws the same.
    """
    most = settings.num_tasks + _MAX_TASKS
    tasks = family.tasks(most, settings.table_points_per_task, seed=seed)
    return TableFamily(tasks, family.space, minimize=family.minimize)


def leave_out(
    family: TableFamily,
    *,
    settings: MetaTrainSettings,
    evaluations: int,
    repeats: int,
    seed: int,
    jobs: int,
) -> pd.DataFrame:
    """Optimise every task with a Prior that was trained without it, and without a Prior.

    Few tasks are left out one at a time, many in 8 groups. What was measured is what can be
    chosen from.

    Args:
        family: The tasks; of very many, `a_part`.
        settings: Of meta-training.
        evaluations: How many evaluations each search gets.
        repeats: How many searches there are on each task.
        seed: Of everything.
        jobs: How many processes.

    Returns:
        The rows of `optimise`.

    Raises:
        ValueError: If fewer than two tasks can be optimised: have three settings, and differences
            between them.
    """
    # As tasks are inside, larger is better.
    family = TableFamily(family.tasks(), family.space)
    tasks = family.tasks(seed=seed, num_points=_MAX_CANDIDATES)
    problems = [
        problem for task in tasks if _can_be_optimised(problem := table_problem("runs", task))
    ]
    if len(problems) < 2:
        raise ValueError(
            f"{len(problems)} of {len(family)} tasks have three settings with different values; "
            "two are needed to compare"
        )
    chosen = problems[:: -(-len(problems) // _MAX_TASKS)]
    folds = [chosen[i::_MAX_FOLDS] for i in range(min(_MAX_FOLDS, len(chosen)))]
    seeds = range(seed, seed + repeats)
    fold = partial(_fold, family, settings=settings, evaluations=evaluations, seeds=seeds)
    return run_rows([partial(fold, group) for group in folds], label="comparing", jobs=jobs)


def _can_be_optimised(problem: Problem) -> bool:
    return len(problem.candidates) > 2 and bool(problem.values.max() > problem.values.min())


def _fold(
    family: TableFamily,
    problems: Sequence[Problem],
    *,
    settings: MetaTrainSettings,
    evaluations: int,
    seeds: Sequence[int],
) -> Rows:
    others = family.without([problem.task for problem in problems])
    prior = meta_train(others, seed=seeds[0], settings=settings, progress=False)
    methods: list[Searcher] = [Random(), VanillaGP(), Metabo(prior)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorCollapsedWarning)  # whether it helps is the question
        return [
            row
            for problem in problems
            for seed in seeds
            for method in methods
            for row in optimise(problem, method, evaluations, seed=seed)
        ]


def judge(rows: pd.DataFrame) -> Verdict:
    """Compare by the mean regret over all evaluations, with Wilcoxon's test paired by task.

    Args:
        rows: From `leave_out`.
    """
    regret = rows.groupby(["task", "method"])["regret"].mean().unstack("method")
    baseline = str(regret.drop(columns="metabo").mean().idxmin())
    gain = paired_difference(regret[baseline], regret["metabo"])
    clear = gain.p < _CLEAR
    answer = "not clear" if not clear else "worth it" if gain.mean > 0 else "not worth it"
    return Verdict(answer, baseline, gain, len(regret))
