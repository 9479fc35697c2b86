"""Run cells in parallel: a cell is one method on one task, and returns rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import joblib
import pandas as pd
import torch

from metabo.benchmark.progress import progress

Rows = list[dict[str, Any]]
Call = Callable[[], Any]


def run_rows(calls: Sequence[Callable[[], Rows]], *, label: str, jobs: int = 2) -> pd.DataFrame:
    """Run cells that return rows; one table, in the order of the cells."""
    return pd.DataFrame([row for rows in run(calls, label=label, jobs=jobs) for row in rows])


def run(calls: Sequence[Call], *, label: str, jobs: int | None = 2) -> list[Any]:
    """Run cells in processes of one thread each, with a progress bar; see `finished`.

    Returns:
        The results, in the order of the cells, whatever order they finish in.
    """
    results = dict(finished(calls, label=label, jobs=jobs))
    return [results[i] for i in range(len(calls))]


def finished(
    calls: Sequence[Call], *, label: str, jobs: int | None = 2, done: int = 0
) -> Iterator[tuple[int, Any]]:
    """Run cells, and give the number and the result of each as soon as it is finished.

    Args:
        calls: What to call, without arguments (`functools.partial` has them).
        label: What the progress bar says.
        jobs: How many processes on this machine, 1 runs the cells here; or None: where and how many
            is for `joblib.parallel_config` to say, such as a cluster (`on_cluster`).
        done: How many others are done already, for the progress bar.
    """
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    here = joblib.parallel_config("loky", inner_max_num_threads=1) if jobs else nullcontext()
    with here, progress(label, done + len(calls), done) as advance:
        for i, result in parallel(joblib.delayed(_call)(i, call) for i, call in enumerate(calls)):
            yield i, result
            advance()


def _call(i: int, call: Call) -> tuple[int, Any]:
    """Several processes on all cores each would wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return i, call()
    finally:
        torch.set_num_threads(threads)
