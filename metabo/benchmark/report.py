"""Rows to tables: on the terminal, and as CSV."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table

from metabo.benchmark.metrics import bootstrap_interval, gap_closed


def summarise(rows: pd.DataFrame, value: str, counts: Sequence[int] | None = None) -> pd.DataFrame:
    """Mean, median and a 95% bootstrap interval of the mean over tasks.

    Tasks are what is independent: where there are several, the seeds of each are averaged first.

    Args:
        rows: With columns problem, task, seed, method, n and `value`.
        value: The column to summarise.
        counts: The n to summarise; default all.

    Returns:
        One row for each problem, method and n, methods in their order of appearance.
    """
    wanted = rows if counts is None else rows[rows["n"].isin(counts)]
    groups = wanted.groupby(["problem", "method", "n"], sort=False)
    summaries = []
    for (problem, method, n), group in groups:
        values, tasks = group[value], group.groupby("task")[value].mean()
        low, high = bootstrap_interval(tasks if len(tasks) > 1 else values)
        summaries.append(
            {
                "problem": problem,
                "method": method,
                "n": n,
                "measure": value,
                "mean": values.mean(),
                "median": values.median(),
                "low": low,
                "high": high,
                "runs": len(values),
            }
        )
    return pd.DataFrame(summaries)


def gap_closed_by(
    rows: pd.DataFrame, method: str, *, reference: str = "vanilla GP", best: str = "exact Bayes"
) -> pd.Series:
    """The share of the gap in squared error that a method closes, by n."""
    errors = {
        n: group.groupby("method")["squared_error"].mean().to_dict()
        for n, group in rows.groupby("n")
    }
    shares = {n: gap_closed(e[reference], e[method], e[best]) for n, e in errors.items()}
    return pd.Series(shares, name=method)


def table(summary: pd.DataFrame, title: str, counts: Sequence[int] | None = None) -> Table:
    """A table for the terminal: means, one row for each method, one column for each n.

    Args:
        summary: From `summarise`, of one problem.
        title: What is above the table.
        counts: The n to show; default all.
    """
    runs = summary["runs"].max()
    result = Table(
        title=f"{title}\n(mean of {runs} runs)",
        title_justify="left",
        box=SIMPLE,
        collapse_padding=True,
    )
    means = summary.pivot(index="method", columns="n", values="mean")
    counts = [n for n in counts or means.columns if n in means.columns]
    result.add_column("n observations", no_wrap=True)
    for n in counts:
        result.add_column(str(n), justify="right")
    for method in summary["method"].unique():
        result.add_row(method, *(f"{means.loc[method, n]:.3g}" for n in counts))
    return result


def markdown(summary: pd.DataFrame) -> str:
    """The table for a document: as `table`, with the problem as its first column.

    Args:
        summary: From `summarise`, of one measure; of any number of problems.
    """
    means = summary.pivot(index=["problem", "method"], columns="n", values="mean")
    lines = [
        "| problem | method | " + " | ".join(f"n = {n}" for n in means.columns) + " |",
        "|---|---|" + "---:|" * len(means.columns),
    ]
    for problem, method in summary[["problem", "method"]].drop_duplicates().values:
        cells = [f"{mean:.3g}" if mean == mean else "" for mean in means.loc[(problem, method)]]
        lines.append(f"| {problem} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown_by_count(summary: pd.DataFrame) -> str:
    """A table for a document: a row for each n, means and 95% intervals of all methods.

    Args:
        summary: From `summarise`, of one problem and measure.
    """
    methods = summary["method"].unique()
    cells = {
        (row.n, row.method): f"{row.mean:.3g} ({row.low:.3g} to {row.high:.3g})"
        for row in summary.itertuples()
    }
    lines = [f"| n | {' | '.join(methods)} |", "|---:|" + "---:|" * len(methods)]
    for n in sorted(summary["n"].unique()):
        lines.append(f"| {n} | " + " | ".join(cells.get((n, m), "") for m in methods) + " |")
    return "\n".join(lines)
