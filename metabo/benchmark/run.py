"""Run a grid of cells in parallel: a cell is one method on one task, and returns rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import joblib
import pandas as pd
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Rows = list[dict[str, Any]]
Cell = Callable[[], Any]


def run_rows(cells: Sequence[Callable[[], Rows]], *, label: str, jobs: int = 2) -> pd.DataFrame:
    """Run cells that return rows; one table, in the order of the cells."""
    return pd.DataFrame([row for rows in run(cells, label=label, jobs=jobs) for row in rows])


def run(cells: Sequence[Cell], *, label: str, jobs: int = 2) -> list[Any]:
    """Run cells in processes of one thread each, with a progress bar.

    Args:
        cells: What to call, without arguments (`functools.partial` has them).
        label: What the progress bar says.
        jobs: How many processes; 1 runs them here.

    Returns:
        The results, in the order of the cells, whatever order they finish in.
    """
    results: dict[int, Any] = {}
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    with joblib.parallel_config("loky", inner_max_num_threads=1), _bar() as bar:
        row = bar.add_task(label, total=len(cells))
        for i, result in parallel(joblib.delayed(_call)(i, cell) for i, cell in enumerate(cells)):
            results[i] = result
            bar.advance(row)
    return [results[i] for i in range(len(cells))]


def _call(i: int, cell: Cell) -> tuple[int, Any]:
    """Several processes on all cores each would wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return i, cell()
    finally:
        torch.set_num_threads(threads)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
