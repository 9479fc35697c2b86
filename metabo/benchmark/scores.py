"""What rows of regrets say: means, ranks, how soon, how long, and whether it is by chance.

Tasks are what is independent: seeds of one task are averaged before intervals are made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from metabo.benchmark.metrics import bootstrap_interval, paired_difference

OURS, REFERENCE = "metabo", "vanilla GP"
AT = 25  # the evaluations of the reference that others are to reach sooner
COUNTS = (1, 3, 5, 10, 25, 50)
_RUN = ["problem", "task", "seed"]
_DIGITS = 9  # beyond these, regrets are rounding
_EXACT = 10.0**-_DIGITS


def curves(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each run (problem, task, seed, method), one column for each n: the regret.

    A run that ended because all candidates were measured stays where it was.
    """
    table = rows.pivot(index=[*_RUN, "method"], columns="n", values="regret")
    methods = sorted(rows["method"].unique(), key=lambda method: method != OURS)  # ours first
    order = {method: i for i, method in enumerate(methods)}
    return table.ffill(axis=1).sort_index(
        level="method", sort_remaining=False, key=lambda index: index.map(order)
    )


def regrets(found: pd.DataFrame, n: int) -> pd.DataFrame:
    """After n evaluations: one row for each problem, task and seed, one column for each method.

    NaN is where a method failed. What is less than 1e-9 of the range is rounding, and a tie.
    """
    methods = found.index.get_level_values("method").unique()
    return found[n].unstack("method")[list(methods)].round(_DIGITS)


def ranks(found: pd.DataFrame, n: int) -> pd.DataFrame:
    """As `regrets`, but ranks: 1 is the best, ties share theirs, failures are last."""
    return regrets(found, n).rank(axis=1, na_option="bottom")


def in_all_problems(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of methods that take part in every problem: only they can be ranked over all."""
    problems = rows.groupby("method")["problem"].nunique()
    return rows[rows["method"].map(problems) == rows["problem"].nunique()]


def shown_counts(found: pd.DataFrame) -> list[int]:
    """The numbers of evaluations that tables show."""
    return [n for n in COUNTS if n in found.columns]


def summary(values: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95% bootstrap interval over tasks, by method.

    Args:
        values: From `regrets` or `ranks`, of one problem or several.
    """
    means = over_tasks(values)
    intervals = [bootstrap_interval(means[method].dropna()) for method in means]
    low, high = zip(*intervals, strict=True)
    return pd.DataFrame({"mean": means.mean(), "low": low, "high": high}, index=means.columns)


def over_tasks(values: pd.DataFrame) -> pd.DataFrame:
    """The mean over seeds of each task; the runs themselves where there is only one task."""
    means = values.groupby(level=["problem", "task"], sort=False).mean()
    return means if len(means) > 1 else values


def num_tasks(values: pd.DataFrame) -> int:
    """How many tasks there are in rows of runs."""
    return len(values.index.droplevel("seed").unique())


def evaluations_needed(found: pd.DataFrame) -> tuple[float, dict[str, int | None]]:
    """How many evaluations each method needs to be as good as the reference after 25.

    Means are over the runs in which no method failed: to fail on hard ones must not help.

    Returns:
        The mean regret of the reference then (NaN without it), and the first n by method, None
        where it was not reached.
    """
    at = min(AT, int(found.columns.max()))
    everyone = found.index.get_level_values("method").nunique()
    shared = found.groupby(level=_RUN)[at].transform("size") == everyone
    means = found[shared].groupby(level="method", sort=False).mean()
    if REFERENCE not in means.index:
        return float("nan"), {}
    goal = float(means.loc[REFERENCE, at])
    reached = means <= goal + _EXACT
    return goal, {
        str(method): int(reached.columns[row.to_numpy().argmax()]) if row.any() else None
        for method, row in reached.iterrows()
    }


def seconds(rows: pd.DataFrame) -> pd.DataFrame:
    """Seconds for each suggestion of the first 25, by method: mean, median, and share of reference.

    `times_faster` is how many times longer the reference takes, by means.
    """
    early = rows[rows["n"] <= AT].groupby("method", sort=False)["seconds"]
    table = pd.DataFrame({"mean": early.mean(), "median": early.median()})
    if REFERENCE in table.index:
        table["times_faster"] = table.loc[REFERENCE, "mean"] / table["mean"]
    return table


def paired(found: pd.DataFrame, counts: Sequence[int]) -> pd.DataFrame:
    """The regret of every other method minus ours, on the same tasks and seeds.

    Args:
        found: From `curves`, of one problem.
        counts: After how many evaluations.

    Returns:
        One row for each method and n: the mean difference with its interval over tasks, Wilcoxon's
        p over tasks and over all runs, and in how many runs ours is better and worse.
    """
    results = []
    for n in counts:
        table = regrets(found, n)
        for method in table.columns.drop(OURS, errors="ignore"):
            if OURS not in table:
                continue
            both = table[[method, OURS]].dropna()
            tasks = over_tasks(both)
            by_task = paired_difference(tasks[method], tasks[OURS])
            gain = (both[method] - both[OURS]).to_numpy()
            results.append(
                {
                    "method": method,
                    "n": n,
                    "mean": by_task.mean,
                    "low": by_task.low,
                    "high": by_task.high,
                    "p_tasks": by_task.p,
                    "p_runs": paired_difference(both[method], both[OURS]).p,
                    "better": int((gain > _EXACT).sum()),
                    "worse": int((gain < -_EXACT).sum()),
                    "runs": len(gain),
                    "tasks": num_tasks(both),
                }
            )
    return pd.DataFrame(results).replace([np.inf, -np.inf], np.nan)
