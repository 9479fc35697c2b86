"""RGPE's weights against models that are right and wrong on purpose, and brute force."""

from __future__ import annotations

import pytest
import torch
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.rgpe import RGPESearch, leave_one_out, loss_weights, ranking_loss
from metabo.baselines.task_gps import TaskGPs
from metabo.baselines.vanilla_gp import vanilla_gp
from metabo.space import InputSpace

LINE = InputSpace.from_bounds((-4, 4))
GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


def bump(x: float, centre: float) -> float:
    return float(torch.tensor(-0.5 * (x - centre) ** 2).exp())


def test_the_loss_is_the_count_of_pairs_in_the_wrong_order() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(6, 5, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(5, generator=generator, dtype=torch.float64)
    expected = [
        sum((d[j, j] < d[j, k]).item() != (y[j] < y[k]).item() for j in range(5) for k in range(5))
        for d in draws
    ]
    assert ranking_loss(draws, y).tolist() == expected


def test_leaving_one_out_is_conditioning_on_the_others() -> None:
    X = LINE.sample(5, seed=3)
    model = vanilla_gp(X, X.sin(), LINE)
    with torch.no_grad():
        means, covariances = leave_one_out(model, X)
        prior = model.forward(model.transform_inputs(X))
        for i in range(5):
            rest = [j for j in range(5) if j != i]
            joint = prior.covariance_matrix
            gain = joint[:, rest] @ torch.linalg.inv(
                joint[rest][:, rest] + model.likelihood.noise * torch.eye(4)
            )
            residual = model.train_targets[rest] - prior.mean[rest]
            torch.testing.assert_close(means[i], prior.mean + gain @ residual, rtol=0, atol=1e-5)
            expected = MultivariateNormal(prior.mean, joint - gain @ joint[rest])
            torch.testing.assert_close(
                covariances[i], expected.covariance_matrix, rtol=0, atol=1e-5
            )


def test_the_model_with_fewest_mistakes_has_the_weight() -> None:
    losses = torch.tensor([[0, 2, 2, 1], [4, 4, 1, 1], [2, 2, 2, 2]]).double()
    # In the last draw the first two are equally good; in the second the last one wins a tie.
    expected = torch.tensor([0.25 + 0.125, 0.25 + 0.125, 0.25]).double()
    torch.testing.assert_close(loss_weights(losses), expected)


def test_bad_models_have_no_weight_by_luck() -> None:
    own = torch.full((1, 100), 5.0)
    lucky = torch.full((30, 100), 9.0)
    for i in range(30):
        lucky[i, i] = 0.0  # each is the best once
    weights = loss_weights(torch.cat([lucky, own]))
    assert weights[-1] == 1.0
    assert weights[:-1].sum() == 0.0


def test_the_task_that_equals_an_earlier_one_gets_that_ones_model(opposites: EarlierRuns) -> None:
    search = RGPESearch(TaskGPs(opposites), GRID)
    for x in (-3.0, -1.0, 0.0, 1.0, 3.0):
        search.tell({"x": x}, 10 + 5 * bump(x, 2.0))
    weights = search.weights(vanilla_gp(search.X, search.Y, LINE))
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] > 0.7
    assert weights[1] < 0.05
    assert search.ask()["x"] == pytest.approx(2.0, abs=0.21)


def test_of_equal_units_the_ensemble_is_the_weighted_sum(opposites: EarlierRuns) -> None:
    gps = TaskGPs(opposites)
    search = RGPESearch(gps, GRID)
    found = search.predict(torch.arange(41))
    means, sds = gps.predict(GRID)
    offset, scale = opposites.scale_of(search.Y)
    torch.testing.assert_close(found.mean, offset + scale * means.mean(0))
    torch.testing.assert_close(found.variance, scale**2 * sds.square().sum(0) / 4)


def test_it_finds_the_top_in_a_few_steps(gps: TaskGPs) -> None:
    search = RGPESearch(gps, GRID, seed=1)
    for _ in range(5):
        x = search.ask()
        search.tell(x, -3 + 2 * bump(x["x"], 1.6))
    assert (search.X - 1.6).abs().min() < 0.21


def test_it_maximises_the_objective(gps: TaskGPs) -> None:
    def to_level(Y: Tensor, X: Tensor) -> Tensor:
        return -(Y[..., 0] - 1.0).abs()

    search = RGPESearch(gps, GRID, objective=to_level)
    for _ in range(9):
        x = search.ask()
        search.tell(x, 2 * bump(x["x"], 1.6))
    assert (search.Y - 1.0).abs().min() < 0.15
