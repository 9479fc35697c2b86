"""Test functions of the benchmark at points on a GPU."""

from __future__ import annotations

import pytest
import torch

from metabo.benchmark.functions import (
    Logistic,
    LogisticNetBenefit,
    LogisticSlope,
    LogisticSurface,
    LogisticTarget,
    surface_family,
)

FUNCTIONS = [
    *(kind() for kind in (Logistic, LogisticTarget, LogisticNetBenefit, LogisticSlope)),
    LogisticSurface((0.6, -0.8), b=0.3),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f).__name__)
def test_functions(function: Logistic, cuda: torch.device) -> None:
    X = torch.rand(7, function.dim, generator=torch.Generator().manual_seed(0)).double()
    expected = function.double()(X)
    found = function.to(cuda)(X.to(cuda))  # as BoTorch's own test functions are used
    assert found.device == X.to(cuda).device
    torch.testing.assert_close(found.cpu(), expected)
    assert function.bounds.device == found.device
    function.cpu()


def test_the_true_function_of_a_task(cuda: torch.device) -> None:
    bounds = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    task = surface_family(bounds.to(cuda)).tasks(1, 5, seed=3)[0]
    found = task.function(task.X.to(cuda))
    torch.testing.assert_close(found.cpu(), task.function(task.X))
