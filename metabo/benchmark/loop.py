"""The optimisation loop: ask, measure, tell."""

from __future__ import annotations

import time
import zlib
from typing import Any

import torch

from metabo.benchmark.methods import Searcher
from metabo.benchmark.problems import Problem


def optimise(
    problem: Problem, method: Searcher, num_evaluations: int, *, seed: int
) -> list[dict[str, Any]]:
    """Run one method on one problem.

    Args:
        problem: What to optimise.
        method: The method; points that the problem has it evaluate first are told, not asked for.
        num_evaluations: How many; at most as many as there are candidates.
        seed: Of the method and of the noise. On one task, methods with the same seed have the same
            random starts and the same noise; another task has others.

    Returns:
        A row for each evaluation n, from 1: problem, task, seed, method, n, regret (of the best
        candidate measured so far by the true objective, as a share of its range) and seconds (of
        asking and telling).
    """
    own_seed = zlib.crc32(f"{problem.task}, {seed}".encode())
    generator = torch.Generator().manual_seed(own_seed)
    rows: list[dict[str, Any]] = []
    regret = float("inf")
    started = time.perf_counter()
    search = method.search(problem, seed=own_seed)
    initial = problem.space.to_dicts(problem.initial[seed]) if seed in problem.initial else []
    for n in range(1, min(num_evaluations, len(problem.candidates)) + 1):
        x = initial[n - 1] if n <= len(initial) else search.ask()
        asked = time.perf_counter()
        y = problem.measure(x, generator)
        measuring = time.perf_counter() - asked
        search.tell(x, y)
        seconds = time.perf_counter() - started - measuring
        regret = min(regret, problem.regret(x))
        rows.append(
            {
                "problem": problem.name,
                "task": problem.task,
                "seed": seed,
                "method": method.name,
                "n": n,
                "regret": regret,
                "seconds": seconds,
            }
        )
        started = time.perf_counter()
    return rows
