"""How well a method predicts a new task from its first few observations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metabo.benchmark.methods import Predictor
from metabo.benchmark.metrics import (
    coverage,
    crps,
    mean_squared_error,
    negative_log_density,
)
from metabo.benchmark.problems import grid
from metabo.tasks import Task


@dataclass(frozen=True, eq=False)
class Episode:
    """A task's support, in the order in which methods see it, and the query they are scored on.

    Attributes:
        support: The observed points.
        X: `q x d`, query points.
        Y: q observations there.
        truth: q values that a mean prediction should have: noise-free if known, else Y.
    """

    support: Task
    X: Tensor
    Y: Tensor
    truth: Tensor


def grid_episode(task: Task, *, noise_sd: float, num_points: int = 100, seed: int = 0) -> Episode:
    """A task with a known function, scored on a grid: error against the truth, density of new data.

    Raises:
        ValueError: If the task's true function is not known.
    """
    if task.function is None:
        raise ValueError(f"task {task.name!r} has no known function; use table_episode")
    X = grid(task.space, num_points)
    truth = task.function(X).squeeze(-1)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(X), generator=generator, dtype=torch.float64)
    return Episode(task, X, truth + noise_sd * noise, truth)


def table_episode(task: Task, num_support: int, *, seed: int) -> Episode:
    """A task of a table: a random part is the support, and all the rest the query.

    Raises:
        ValueError: If nothing is left for the query.
    """
    if len(task) <= num_support:
        raise ValueError(
            f"task {task.name!r} has {len(task)} observations: too few for {num_support} support "
            "points and a query"
        )
    order = torch.randperm(len(task), generator=torch.Generator().manual_seed(seed))
    query = task.subset(order[num_support:])
    Y = query.Y.squeeze(-1)
    return Episode(task.subset(order[:num_support]), query.X, Y, Y)


def few_shot(
    problem: str, method: Predictor, episode: Episode, counts: Sequence[int], *, seed: int
) -> list[dict[str, Any]]:
    """Score one method on one task after each number of observations.

    Args:
        problem: What the family is called in tables.
        method: The method.
        episode: The task.
        counts: Numbers of observations, each at most as many as the support has.
        seed: Only noted in the rows.

    Returns:
        A row for each count: problem, task, seed, method, n, squared_error, negative_log_density,
        crps, coverage (of 90% intervals), coverage_50, seconds (without the scoring).
    """
    return [
        {
            "problem": problem,
            "task": episode.support.name,
            "seed": seed,
            "method": method.name,
            "n": n,
            **_scores(method, episode, n),
        }
        for n in counts
    ]


def _scores(method: Predictor, episode: Episode, n: int) -> dict[str, float]:
    started = time.perf_counter()
    seen = episode.support.subset(slice(n))
    prediction = method.predict(seen.space, seen.X, seen.Y, episode.X)
    seconds = time.perf_counter() - started
    return {
        "squared_error": mean_squared_error(prediction, episode.truth),
        "negative_log_density": negative_log_density(prediction, episode.Y),
        "crps": crps(prediction, episode.Y),
        "coverage": coverage(prediction, episode.Y),
        "coverage_50": coverage(prediction, episode.Y, level=0.5),
        "seconds": seconds,
    }
