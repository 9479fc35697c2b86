"""Distributions as a space to search, and back."""

import pytest
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from metabo.integrations.optuna.trial_space import TrialSpace
from metabo.prior import Prior
from metabo.space import InputSpace

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(0.1, 0.7, step=0.2),
    "depth": IntDistribution(2, 6, step=2),
    "kernel": CategoricalDistribution(["poly", "rbf"]),
}


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(-3, 7),
        FloatDistribution(1e-5, 7, log=True),
        FloatDistribution(-3, 6.9, step=0.3),
        FloatDistribution(2.5, 2.5),
        IntDistribution(-3, 7),
        IntDistribution(1, 7, log=True),
        IntDistribution(-3, 7, step=5),
        IntDistribution(3, 3),
        CategoricalDistribution([7, -2.5]),
        CategoricalDistribution([1]),
    ],
)
def test_every_point_is_legal_for_both(distribution: BaseDistribution) -> None:
    prior_space = InputSpace.from_bounds({"x": (-10, 10)})
    space = TrialSpace(prior_space, {"x": distribution})
    X = space.inputs.sample(64, seed=0)
    for x in X:
        value = space.to_params(x)["x"]
        assert distribution._contains(distribution.to_internal_repr(value))
        assert float(space.to_prior(x)) == pytest.approx(value)
    assert torch.allclose(space.nearest(space.to_prior(X)), X)


def test_choices_have_the_priors_indices(mixed_prior: Prior) -> None:
    space = TrialSpace(mixed_prior.space, DISTRIBUTIONS)
    x = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)
    assert space.to_params(x) == {"rate": pytest.approx(0.7), "depth": 4, "kernel": "poly"}
    # For the Prior the kernels are rbf, linear and poly.
    assert space.to_prior(x).tolist() == pytest.approx([0.7, 4, 2])


def test_inputs_without_a_distribution_keep_the_priors_range(mixed_prior: Prior) -> None:
    space = TrialSpace(mixed_prior.space, {"depth": IntDistribution(2, 3)})
    X = space.inputs.sample(256, seed=0)
    assert set(space.to_params(X[0])) == {"depth"}
    mixed_prior.space.check(space.to_prior(X))
    assert set(space.to_prior(X)[:, 2].tolist()) == {0, 1, 2}
    assert space.to_prior(X)[:, 0].max() > 0.5


def test_the_nearest_point(mixed_prior: Prior) -> None:
    space = TrialSpace(mixed_prior.space, DISTRIBUTIONS)
    X = torch.tensor([[0.36, 1.0, 0.0], [1e-4, 6.0, 2.0]], dtype=torch.float64)
    assert space.to_prior(space.nearest(X)).tolist() == [
        pytest.approx([0.3, 2, 0]),
        pytest.approx([0.1, 6, 2]),
    ]


def test_gradients_reach_the_numbers(mixed_prior: Prior) -> None:
    space = TrialSpace(mixed_prior.space, DISTRIBUTIONS)
    x = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(space.to_prior(x).sum(), x)
    assert slope.tolist() == pytest.approx([0.2, 2, 0])
