"""Test functions: BoTorch's own tests, and optima against a fine search."""

from __future__ import annotations

import itertools

import pytest
import torch
from botorch.utils.testing import (
    BaseTestProblemTestCaseMixIn,
    BotorchTestCase,
    SyntheticTestFunctionTestCaseMixin,
)

from metabo.benchmark.functions import (
    Logistic,
    LogisticNetBenefit,
    LogisticSlope,
    LogisticSurface,
    LogisticTarget,
    slope,
    surface_family,
)
from metabo.tasks.parametric import logistic

SHAPES = [(5.0, 3.0, 0.0), (1.0, 1.0, 1.0), (10.0, 10.0, -1.0), (2.0, 1.5, 6.0)]
CURVES = [
    kind(L=L, k=k, x0=x0)
    for kind in (Logistic, LogisticTarget, LogisticNetBenefit, LogisticSlope)
    for L, k, x0 in SHAPES
]
SURFACES = [
    LogisticSurface((0.6, 0.8), k=8.0, cost=0.5),
    LogisticSurface((0.6, -0.8), b=0.3),
    LogisticSurface((0.1, 0.5, 0.7, 0.5), L=8.0, b=0.2),
    LogisticSurface((-0.5, 0.5, 0.5, -0.5), L=1.0, k=1.0),  # nothing pays
    LogisticSurface((0.3, 0.1, -0.2, 0.4, 0.5, -0.1, 0.6, 0.2), L=9.0, cost=0.7),
]


class TestFunctions(
    BotorchTestCase, BaseTestProblemTestCaseMixIn, SyntheticTestFunctionTestCaseMixin
):
    functions = (*CURVES, *SURFACES, Logistic(noise_std=0.1), LogisticSlope(negate=True))


@pytest.mark.parametrize("function", CURVES, ids=lambda f: type(f).__name__)
def test_the_optimum_of_a_curve_is_that_of_a_grid(function: Logistic) -> None:
    X = torch.linspace(-4, 4, 80_001, dtype=torch.float64).unsqueeze(-1)
    function.double()
    values = function(X)
    assert function.optimal_value == pytest.approx(values.max().item(), abs=1e-3)
    assert function.optimal_value >= values.max().item() - 1e-9
    # BoTorch's own tests above have had the optimizers in single precision.
    assert function(function.optimizers).item() == pytest.approx(function.optimal_value, abs=1e-6)


@pytest.mark.parametrize("function", SURFACES, ids=lambda f: f"{f.dim} inputs")
def test_no_point_of_a_surface_is_better_than_its_optimum(function: LogisticSurface) -> None:
    function.double()
    generator = torch.Generator().manual_seed(0)
    X = 2 * torch.rand(50_000, function.dim, generator=generator, dtype=torch.float64) - 1
    corners = torch.tensor(
        list(itertools.product((-1.0, 1.0), repeat=function.dim)), dtype=torch.float64
    )
    near = (function.optimizers + 0.05 * X).clamp(-1, 1)
    found = function(torch.cat([X, corners, near])).max().item()
    assert found <= function.optimal_value + 1e-9
    assert found >= function.optimal_value - 0.3


@pytest.mark.parametrize("function", [*CURVES, *SURFACES], ids=lambda f: type(f).__name__)
def test_the_objective_of_the_response_is_the_function(function: Logistic) -> None:
    function.double()
    X = function.bounds[0] + (function.bounds[1] - function.bounds[0]) * torch.rand(2, 7, 1)
    response = function.response(X)
    assert response.shape == (2, 7, 1)
    composite = response[..., 0] if function.objective is None else function.objective(response, X)
    assert torch.equal(composite, function(X))


def test_the_slope_is_the_derivative() -> None:
    X = torch.linspace(-2, 2, 9, dtype=torch.float64).unsqueeze(-1).requires_grad_()
    curve = logistic(X, *torch.tensor([3.0, 2.0, 0.5]))
    (expected,) = torch.autograd.grad(curve.sum(), X)
    torch.testing.assert_close(slope(X, 3.0, 2.0, 0.5), expected)


def test_a_family_of_surfaces_holds_the_test_functions() -> None:
    bounds = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    family = surface_family(bounds)
    task = family.tasks(1, 5, seed=3)[0]
    w = torch.tensor([task.parameters[name] for name in ("w0", "w1")])
    rest = {name: task.parameters[name] for name in ("L", "k", "b")}
    function = LogisticSurface((w / w.norm()).tolist(), **rest)
    torch.testing.assert_close(task.function(task.X), function.response(task.X), rtol=1e-4, atol=0)


def test_a_curve_that_falls_is_refused() -> None:
    with pytest.raises(ValueError, match="both must be positive"):
        LogisticTarget(k=-1.0)
