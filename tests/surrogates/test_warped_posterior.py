"""The predictive mixture of a Prior that warps outputs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from botorch.acquisition import LogExpectedImprovement, qLogExpectedImprovement
from botorch.acquisition.objective import ScalarizedPosteriorTransform
from botorch.optim import optimize_acqf
from scipy.stats import norm
from torch import Size, Tensor

from metabo.prior import Prior
from metabo.surrogates import LogIncumbentImprovement, MixturePriorGP
from metabo.surrogates.warped_posterior import WarpedPosterior
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]
WARP = Warp(center=5.0, spread=2.0, skew=-0.8, tail=0.6)


@pytest.fixture
def warped_prior(make_prior: Callable[..., Prior]) -> Prior:
    return replace(make_prior(offset=0.2, scale=0.7, broad=0.1), warp=WARP)


@pytest.fixture
def model(warped_prior: Prior, observe: Observe) -> MixturePriorGP:
    return MixturePriorGP(*warped_observations(warped_prior, observe, 3), warped_prior)


@pytest.fixture
def posterior(make_prior: Callable[..., Prior], observe: Observe) -> WarpedPosterior:
    """Without broad components, whose tails no sample of finite size has."""
    prior = replace(make_prior(offset=0.2, scale=0.7), warp=WARP)
    model = MixturePriorGP(*warped_observations(prior, observe, 2), prior)
    found = model.posterior(prior.space.sample(3, seed=5))
    assert isinstance(found, WarpedPosterior)
    return found


def warped_observations(prior: Prior, observe: Observe, n: int) -> tuple[Tensor, Tensor]:
    X, Y = observe(prior, n)
    return X, WARP.inverse(Y)


def test_density_and_moments_by_integration(posterior: WarpedPosterior) -> None:
    """On a fine grid of the warped output, where each component is a normal distribution."""
    v = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    y, warped = WARP.inverse(v), posterior.warped
    slope = WARP.log_slope(y).exp()
    for point in range(3):
        parts = norm(warped.means[:, point, None], warped.variances[:, point, None].sqrt())
        mass = torch.from_numpy(posterior.weights.numpy() @ parts.pdf(v.numpy())) * (v[1] - v[0])
        mean = mass @ y
        assert float(mass.sum()) == pytest.approx(1)
        assert float(posterior.mean[point]) == pytest.approx(float(mean), rel=1e-6)
        variance = float(mass @ (y - mean).square())
        assert float(posterior.variance[point]) == pytest.approx(variance, rel=1e-4)
        there = posterior.density(y[50_000].expand(3, 1))[point]
        expected = mass[50_000] / (v[1] - v[0]) * slope[50_000]
        assert float(there) == pytest.approx(float(expected))


def test_quantiles_undo_the_probability(posterior: WarpedPosterior) -> None:
    levels = torch.tensor([1e-4, 0.05, 0.5, 0.95]).double()
    for turned in (posterior, posterior.affine(-2.0, 1.0)):
        for level, quantile in zip(levels, turned.quantile(levels), strict=True):
            torch.testing.assert_close(turned.cdf(quantile), level.expand(3, 1))
    middle = posterior.affine(-2.0, 1.0).quantile(torch.tensor(0.3))
    torch.testing.assert_close(middle, 1 - 2 * posterior.quantile(torch.tensor(0.7)))


def test_samples_have_its_moments(posterior: WarpedPosterior) -> None:
    torch.manual_seed(0)
    samples = posterior.rsample(Size([40_000])).squeeze(-1)
    torch.testing.assert_close(samples.mean(0), posterior.mean.squeeze(-1), rtol=0.02, atol=0.02)
    deviation = posterior.variance.squeeze(-1).sqrt()
    covariance = torch.cov(samples.T) / deviation / deviation[:, None]
    expected = posterior.covariance_matrix / deviation / deviation[:, None]
    torch.testing.assert_close(covariance, expected, rtol=0.05, atol=0.05)
    torch.linalg.cholesky(posterior.covariance_matrix)
    alone = posterior.marginal_sample(Size([40_000]))
    torch.testing.assert_close(alone.mean(0), posterior.mean.squeeze(-1), rtol=0.02, atol=0.02)


def test_evidence_is_in_the_users_units(
    model: MixturePriorGP, make_prior: Callable[..., Prior]
) -> None:
    """Evidence of warped data without a warp, and the slope of the warp."""
    plain = replace(model.prior, warp=None)
    X, Y = model.train_inputs[0], model.data.Y
    expected = MixturePriorGP(X, WARP(Y), plain).log_evidence + WARP.log_slope(Y).sum()
    torch.testing.assert_close(model.log_evidence, expected)


def test_conditioning_is_rebuilding(warped_prior: Prior, observe: Observe) -> None:
    X, Y = warped_observations(warped_prior, observe, 6)
    grid = warped_prior.space.sample(5, seed=9)
    noise = torch.full_like(Y, 0.01)
    for known in (None, noise):
        before = MixturePriorGP(X[:4], Y[:4], warped_prior, None if known is None else known[:4])
        after = before.condition_on_observations(X[4:], Y[4:], None if known is None else known[4:])
        rebuilt = MixturePriorGP(X, Y, warped_prior, known)
        torch.testing.assert_close(
            after.posterior(grid).mean, rebuilt.posterior(grid).mean, rtol=1e-8, atol=1e-8
        )


def test_known_noise_spreads_as_the_warp_does(warped_prior: Prior, observe: Observe) -> None:
    """Of a small noise variance in the user's units, the warped one is slope^2 as large."""
    X, Y = warped_observations(warped_prior, observe, 4)
    known = torch.full_like(Y, 1e-3)
    plain = replace(warped_prior, warp=None)
    grid = warped_prior.space.sample(5, seed=9)
    variance = known * (2 * WARP.log_slope(Y)).exp()
    expected = MixturePriorGP(X, WARP(Y), plain, variance).posterior(grid)
    found = MixturePriorGP(X, Y, warped_prior, known).posterior(grid)
    assert isinstance(found, WarpedPosterior)
    torch.testing.assert_close(found.warped.mean, expected.mean)


def test_acquisition_functions_take_it(model: MixturePriorGP) -> None:
    bounds = model.prior.space.bounds
    best = model.data.Y.max()
    functions = [
        LogExpectedImprovement(model, best_f=best),
        LogExpectedImprovement(model.members(), best_f=best),
        qLogExpectedImprovement(model, best_f=best),
        LogIncumbentImprovement(model),
        LogIncumbentImprovement(model, objective=lambda Y, X: -(Y[..., 0] - 5).abs()),
    ]
    for function in functions:
        x, value = optimize_acqf(function, bounds, q=1, num_restarts=2, raw_samples=16)
        assert bool(value.isfinite())
        model.prior.space.check(x)
    assert (
        model.posterior(
            bounds, posterior_transform=ScalarizedPosteriorTransform(torch.tensor([2.0]).double())
        )
        .mean.isfinite()
        .all()
    )


def test_leave_one_out_is_leaving_out(model: MixturePriorGP, warped_prior: Prior) -> None:
    X, Y = model.train_inputs[0], model.data.Y
    found = model.leave_one_out().mean.squeeze(-1)
    for i in range(len(X)):
        rest = torch.arange(len(X)) != i
        alone = MixturePriorGP(X[rest], Y[rest], warped_prior)
        expected = alone.posterior(X[i : i + 1], observation_noise=True).mean
        np.testing.assert_allclose(found[i], expected[0], rtol=1e-6)


def test_the_negated_prior_predicts_the_negative(model: MixturePriorGP) -> None:
    X, Y = model.train_inputs[0], model.data.Y
    grid = model.prior.space.sample(4, seed=2)
    negative = MixturePriorGP(X, -Y, model.prior.negated()).posterior(grid)
    torch.testing.assert_close(negative.mean, -model.posterior(grid).mean)
    torch.testing.assert_close(negative.variance, model.posterior(grid).variance)
