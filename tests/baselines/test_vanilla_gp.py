"""The vanilla GP against one set up by hand in the unit cube."""

from __future__ import annotations

import pytest
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, SingleTaskGP
from ConfigSpace import Categorical, ConfigurationSpace, Constant, Float, Integer
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Tensor

from metabo.baselines.vanilla_gp import VanillaGPSearch, predict_vanilla, unit_cube, vanilla_gp
from metabo.space import InputSpace

LINE = InputSpace.from_bounds((-4, 4))
GRID = torch.linspace(-4, 4, 81, dtype=torch.float64).unsqueeze(-1)
CONFIGURATIONS = ConfigurationSpace()
CONFIGURATIONS.add(
    [Float("rate", (1e-4, 1.0), log=True), Integer("depth", (1, 9)), Categorical("k", "abc")]
)
MIXED = InputSpace(CONFIGURATIONS, ["rate", "depth", "k"])


def test_inputs_are_scaled_to_the_unit_cube() -> None:
    X = torch.tensor([[1e-4, 1, 0], [1.0, 9, 2], [1e-2, 5, 1]], dtype=torch.float64)
    expected = torch.tensor([[0, 0, 0], [1, 1, 2], [0.5, 0.5, 1]], dtype=torch.float64)
    torch.testing.assert_close(unit_cube(MIXED)(X), expected)


def test_constant_inputs_are_left_alone() -> None:
    configurations = ConfigurationSpace()
    configurations.add([Float("x", (0, 2)), Constant("c", 3)])
    space = InputSpace(configurations, ["x", "c"])
    X = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert unit_cube(space)(X)[0].tolist() == [0.5, 3.0]


def test_it_is_botorchs_default_model() -> None:
    X = LINE.sample(6, seed=1)
    Y = torch.sin(X)
    reference = SingleTaskGP((X + 4) / 8, Y)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(reference.likelihood, reference))
    expected = reference.posterior((GRID + 4) / 8, observation_noise=True)
    found = predict_vanilla(X, Y, GRID, LINE)
    torch.testing.assert_close(found.mean, expected.mean.squeeze(-1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.variance, expected.variance.squeeze(-1), rtol=1e-2, atol=1e-3)


def test_categories_get_botorchs_mixed_kernel() -> None:
    X = MIXED.sample(4, seed=0)
    model = vanilla_gp(X, X[:, :1].log() + X[:, 2:], MIXED)
    assert isinstance(model, MixedSingleTaskGP)
    assert model.posterior(X).mean.isfinite().all()


@pytest.mark.parametrize("Y", [[2.0], [2.0, 2.0, 2.0]])
def test_one_point_and_constant_responses_work(Y: list[float]) -> None:
    X = LINE.sample(len(Y), seed=0)
    found = predict_vanilla(X, torch.tensor(Y, dtype=torch.float64).unsqueeze(-1), GRID, LINE)
    torch.testing.assert_close(found.mean, torch.full_like(found.mean, 2.0))
    assert found.stddev.isfinite().all()


def test_search_finds_the_top_of_a_smooth_response() -> None:
    search = VanillaGPSearch(LINE, GRID, seed=0)
    for _ in range(9):
        x = search.ask()
        search.tell(x, -((x["x"] - 1.3) ** 2))
    assert search.X[search.Y.argmax()].item() == pytest.approx(1.3, abs=0.11)


def test_search_maximises_the_objective_of_what_it_models() -> None:
    points = []

    def closeness(Y: Tensor, X: Tensor) -> Tensor:
        points.append(X)
        return -(Y[..., 0] - 2.0).abs() - 0.0 * X[..., 0]

    search = VanillaGPSearch(LINE, GRID, objective=closeness, seed=0)
    for _ in range(7):
        x = search.ask()
        search.tell(x, 0.5 * x["x"] + 1.0)
    assert (search.X - 2.0).abs().min() < 0.06
    seen = torch.cat([X.flatten() for X in points])
    assert seen.min() == -4  # the user's units, not the unit cube
    assert seen.max() == 4


def test_the_first_point_has_to_be_random() -> None:
    with pytest.raises(ValueError, match="num_random is 0"):
        VanillaGPSearch(LINE, GRID, num_random=0)
