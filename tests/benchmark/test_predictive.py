"""A posterior as a distribution of PyTorch."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from metabo.benchmark.metrics import coverage, crps, mean_squared_error, negative_log_density
from metabo.benchmark.predictive import Predictive
from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]


def test_scores_are_those_of_pytorchs_mixture(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 20)
    posterior = MixturePriorGP(X[:4], Y[:4], prior).posterior(X[4:], observation_noise=True)
    expected = MixtureSameFamily(
        Categorical(logits=posterior.log_weights.expand(16, -1)),
        Normal(posterior.means.mT, posterior.variances.sqrt().mT),
    )
    found, truth = Predictive(posterior), Y[4:, 0]
    for score in (mean_squared_error, negative_log_density, coverage):
        assert score(found, truth) == pytest.approx(score(expected, truth))
    assert crps(found, truth) == pytest.approx(crps(expected, truth), rel=0.05)


def test_of_a_warped_posterior(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 20)
    warp = Warp(3.0, 2.0, 0.5, 0.8)
    warped = replace(prior, warp=warp, output_offset=0.0, output_scale=1.0)
    found = Predictive(MixturePriorGP(X[:4], Y[:4], warped).posterior(X[4:]))
    torch.manual_seed(0)
    draws = found.sample((20_000,))
    torch.testing.assert_close(draws.mean(0), found.mean, rtol=0.05, atol=0.05)
    below = (draws <= Y[4:, 0]).double().mean(0)
    torch.testing.assert_close(below, found.cdf(Y[4:, 0]), rtol=0, atol=0.02)
