"""Problems: objectives with known optima, measurements, regret."""

from __future__ import annotations

import math

import pytest
import torch

from metabo.benchmark.problems import (
    NetBenefit,
    Problem,
    Target,
    grid,
    grid_problem,
    table_problem,
)
from metabo.space import InputSpace
from metabo.tasks import FunctionFamily, LogisticFamily, Task

FAMILY = LogisticFamily()
SPACE = InputSpace.from_bounds((0, 10))
TABLE = Task("t", SPACE, [[1.0], [5.0], [1.0], [9.0]], [[2.0], [7.0], [4.0], [5.0]])


def test_the_optimum_of_the_net_benefit_is_where_growth_equals_cost() -> None:
    for task in FAMILY.tasks(10, 1, seed=0):
        L, k, x0 = (task.parameters[name] for name in ("L", "k", "x0"))
        problem = grid_problem("p", task, noise_sd=0.0, objective=NetBenefit(0.8, -4.0))
        best = problem.candidates[problem.values.argmax()].item()
        # L k s (1 - s) = 0.8 at the upper of two points; else nothing pays and the best is -4.
        share = 0.5 + math.sqrt(max(0.25 - 0.8 / (L * k), 0.0))
        interior = x0 + math.log(share / (1 - share)) / k
        worth = L * share - 0.8 * (interior + 4) > problem.values[0].item()
        assert best == pytest.approx(interior if worth else -4.0, abs=8 / 199)


def test_the_target_is_best_where_the_response_reaches_it() -> None:
    task = FAMILY.tasks(1, 1, seed=3)[0]
    problem = grid_problem("p", task, noise_sd=0.0, objective=Target(0.7), num_candidates=20_001)
    best = problem.candidates[problem.values.argmax()].reshape(1, 1)
    assert task.function(best).item() == pytest.approx(0.7, abs=0.01)


def test_regret_is_a_share_of_the_range() -> None:
    problem = table_problem("p", TABLE)
    assert [problem.regret({"x": x}) for x in (1.0, 5.0, 9.0)] == [1.0, 0.0, 0.5]
    with pytest.raises(ValueError, match="no candidate of p, task t"):
        problem.regret({"x": 2.0})


def test_where_all_is_alike_there_is_no_regret() -> None:
    space = LogisticFamily().space
    X = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    problem = Problem("p", "t", space, X, torch.ones(2, 1, dtype=torch.float64))
    assert problem.regret({"x": 1.0}) == 0.0


def test_repeated_points_of_a_table_are_one_candidate() -> None:
    problem = table_problem("p", TABLE)
    assert problem.candidates.tolist() == [[1.0], [5.0], [9.0]]
    assert problem.values.tolist() == [3.0, 7.0, 5.0]
    generator = torch.Generator().manual_seed(0)
    measured = [problem.measure({"x": 1.0}, generator) for _ in range(100)]
    assert set(measured) == {2.0, 4.0}
    assert 30 < measured.count(2.0) < 70
    assert problem.measure({"x": 9.0}, generator) == 5.0


def test_measurements_have_the_noise_asked_for() -> None:
    task = FAMILY.tasks(1, 1, seed=0)[0]
    problem = grid_problem("p", task, noise_sd=0.5, objective=None)
    x = {"x": -4.0}
    generator = torch.Generator().manual_seed(0)
    measured = torch.tensor([problem.measure(x, generator) for _ in range(1000)])
    assert measured.mean().item() == pytest.approx(problem.values[0].item(), abs=0.06)
    assert measured.std().item() == pytest.approx(0.5, abs=0.05)
    again = problem.measure(x, torch.Generator().manual_seed(0))
    assert again == pytest.approx(measured[0].item())


def test_the_grid_is_even_on_the_inputs_scale() -> None:
    assert grid(SPACE, 5)[:, 0].tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    plane = FunctionFamily(lambda X, a: a * X.sum(-1), {"a": (0, 1)}, bounds=[[0, 0], [1, 2]])
    points = grid(plane.space, 64)
    assert points.shape == (64, 2)
    assert points.mean(0).tolist() == pytest.approx([0.5, 1.0], abs=0.05)


def test_a_table_has_no_grid() -> None:
    with pytest.raises(ValueError, match="table_problem"):
        grid_problem("p", TABLE, noise_sd=0.0, objective=None)
