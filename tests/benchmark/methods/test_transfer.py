"""Transfer methods on tables that share their best setting."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Searcher, transfer_methods
from metabo.benchmark.problems import Problem, Target, table_problem
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

SPACE = InputSpace.from_bounds({"rate": (0.0, 1.0), "size": (0.0, 1.0)})
GRID = SPACE.sample(60, seed=0)


def task(number: int, X: Tensor = GRID) -> Task:
    """A bump near (0.7, 0.3) in units of its own."""
    centre = torch.tensor([0.7, 0.3]) + 0.02 * number * torch.tensor([1.0, -1.0])
    Y = (-4 * (X - centre).square().sum(-1, keepdim=True)).exp()
    return Task(f"task {number}", SPACE, X, number + (1 + 0.1 * number) * Y)


FAMILY = TableFamily([task(i) for i in range(4)], SPACE)
PROBLEM = table_problem("bumps", task(4))
NAMES = ["multi-task GP", "RGPE", "deep-kernel GP", "one Gaussian", "average rank", "TST-R"]
# The two that take long have fast tests of their own, beside their files.
_LONG = {"multi-task GP", "deep-kernel GP"}
EACH = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in _LONG else []) for name in NAMES],
)


@pytest.fixture(scope="module")
def methods() -> dict[str, Searcher]:
    return {method.name: method for method in transfer_methods(FAMILY, seed=0)}


def test_they_have_the_names_of_the_tables(methods: dict[str, Searcher]) -> None:
    assert list(methods) == NAMES


@EACH
def test_they_begin_near_the_earlier_best_and_end_at_the_best(
    methods: dict[str, Searcher], name: str
) -> None:
    regrets = [row["regret"] for row in optimise(PROBLEM, methods[name], 6, seed=1)]
    assert regrets[0] < 0.1
    assert regrets[-1] < 0.03


@EACH
def test_training_anew_changes_nothing(methods: dict[str, Searcher], name: str) -> None:
    again = {method.name: method for method in transfer_methods(FAMILY, seed=0)}[name]
    kept = pickle.loads(pickle.dumps(methods[name]))  # as the runner sends it to a process
    expected = _asked(methods[name], PROBLEM)
    assert _asked(again, PROBLEM) == expected
    assert _asked(kept, PROBLEM) == expected


def _asked(method: Searcher, problem: Problem) -> list[dict[str, float]]:
    search = method.search(problem, seed=5)
    asked = []
    for i in range(4):
        asked.append(search.ask())
        search.tell(asked[-1], 4.0 + 0.1 * i)
    return asked


@EACH
def test_candidates_of_their_own_and_an_objective(name: str) -> None:
    """Earlier tasks were measured elsewhere, and what is wanted is a level."""
    parts = [task(i, SPACE.sample(40, seed=i + 1)) for i in range(3)]
    family = TableFamily(parts, SPACE)
    problem = table_problem("level", task(2), objective=Target(2.8))
    (method,) = (one for one in transfer_methods(family, seed=0) if one.name == name)
    regrets = [row["regret"] for row in optimise(problem, method, 8, seed=2)]
    assert regrets[-1] < 0.15
