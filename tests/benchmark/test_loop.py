"""The optimisation loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from metabo.baselines.random_search import RandomSearch
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Exact, Random, VanillaGP
from metabo.benchmark.problems import NetBenefit, Problem, grid_problem, table_problem
from metabo.space import InputSpace
from metabo.tasks import LogisticFamily, Task

FAMILY = LogisticFamily()
TASKS = FAMILY.tasks(2, 1, seed=0)
PROBLEMS = [
    grid_problem("p", task, noise_sd=0.05, objective=NetBenefit(0.8, -4.0)) for task in TASKS
]


@dataclass
class Recorded:
    """Random search that keeps what it was told."""

    told: list[tuple[float, float]]
    name: str = "recorded"

    def search(self, problem: Problem, *, seed: int) -> Recording:
        return Recording(problem.space, problem.candidates, seed=seed, told=self.told)


class Recording(RandomSearch):
    def __init__(
        self, space: InputSpace, candidates: torch.Tensor, *, seed: int, told: list[Any]
    ) -> None:
        super().__init__(space, candidates, seed=seed)
        self.told = told

    def tell(self, x: Any, y: float) -> None:
        super().tell(x, y)
        self.told.append((x["x"], y))


def test_regret_is_that_of_the_best_measured_candidate() -> None:
    told: list[tuple[float, float]] = []
    rows = optimise(PROBLEMS[0], Recorded(told), 6, seed=0)
    best = float("inf")
    for row, (x, _) in zip(rows, told, strict=True):
        best = min(best, PROBLEMS[0].regret({"x": x}))
        assert row["regret"] == best
    assert [row["n"] for row in rows] == list(range(1, 7))
    assert {(row["problem"], row["task"], row["seed"], row["method"]) for row in rows} == {
        ("p", TASKS[0].name, 0, "recorded")
    }


def test_luck_depends_on_task_and_seed_alone() -> None:
    def run(problem: Problem, seed: int) -> list[tuple[float, float]]:
        told: list[tuple[float, float]] = []
        optimise(problem, Recorded(told), 4, seed=seed)
        return told

    assert run(PROBLEMS[0], 0) == run(PROBLEMS[0], 0)
    starts = [run(problem, seed)[0][0] for problem in PROBLEMS for seed in (0, 1)]
    assert len(set(starts)) == 4


def test_random_starts_are_those_of_random_search() -> None:
    ours, theirs = (optimise(PROBLEMS[1], m, 2, seed=5) for m in (VanillaGP(), Random()))
    assert [row["regret"] for row in ours] == [row["regret"] for row in theirs]


def test_it_stops_when_all_candidates_are_measured() -> None:
    task = Task("t", InputSpace.from_bounds((0, 2)), [[0.0], [1.0], [2.0]], [[1.0], [3.0], [2.0]])
    rows = optimise(table_problem("p", task), Random(), 10, seed=0)
    assert len(rows) == 3
    assert rows[-1]["regret"] == 0.0


@pytest.mark.parametrize("method", [VanillaGP(), Exact(FAMILY)])
def test_methods_that_model_beat_chance(method: Any) -> None:
    ours = [optimise(problem, method, 6, seed=0)[-1]["regret"] for problem in PROBLEMS]
    assert max(ours) < 0.02
