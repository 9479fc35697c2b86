"""The predictive mixture: moments, density, quantiles and samples."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from botorch.sampling import IIDNormalSampler, SobolQMCNormalSampler
from scipy.stats import norm
from torch import Size, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metabo.prior import Prior
from metabo.surrogates import MixturePosterior, MixturePriorGP

Observe = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def posterior(make_prior: Callable[..., Prior], observe: Observe) -> MixturePosterior:
    """Four components, none negligible, at three points."""
    prior = make_prior()
    model = MixturePriorGP(*observe(prior, 1), prior)
    return model.posterior(prior.space.sample(3, seed=5))


def test_moments_are_those_of_the_mixture(posterior: MixturePosterior) -> None:
    weights, means = posterior.weights, posterior.means
    covariances = posterior.component_covariances()
    mean = weights @ means
    second = sum(w * (C + m.outer(m)) for w, m, C in zip(weights, means, covariances, strict=True))
    covariance = second - mean.outer(mean)
    torch.testing.assert_close(posterior.mean.squeeze(-1), mean)
    torch.testing.assert_close(posterior.covariance_matrix, covariance)
    torch.testing.assert_close(posterior.variance.squeeze(-1), covariance.diagonal())
    gaussian = posterior.gaussian()
    torch.testing.assert_close(gaussian.mean, posterior.mean)
    torch.testing.assert_close(gaussian.covariance_matrix, covariance)
    torch.testing.assert_close(posterior.mvn.covariance_matrix, covariance)


def test_density_and_probability_are_those_of_scipy(posterior: MixturePosterior) -> None:
    value = posterior.mean + torch.tensor([[-1.0], [0.3], [2.0]])
    parts = norm(posterior.means.numpy(), posterior.variances.sqrt().numpy())
    weights, at = posterior.weights.numpy(), value.squeeze(-1).numpy()
    np.testing.assert_allclose(posterior.density(value).squeeze(-1), weights @ parts.pdf(at))
    log_density = posterior.log_density(value).squeeze(-1)
    np.testing.assert_allclose(log_density, np.log(weights @ parts.pdf(at)))
    np.testing.assert_allclose(posterior.cdf(value).squeeze(-1), weights @ parts.cdf(at))


def test_quantiles_undo_the_probability(posterior: MixturePosterior) -> None:
    levels = torch.tensor([1e-6, 0.05, 0.5, 0.95, 1 - 1e-6], dtype=torch.float64)
    quantiles = posterior.quantile(levels)
    assert quantiles.shape == (5, 3, 1)
    for level, quantile in zip(levels, quantiles, strict=True):
        torch.testing.assert_close(
            posterior.cdf(quantile), level.expand(3, 1), rtol=1e-9, atol=1e-12
        )
    assert posterior.quantile(torch.tensor(0.5)).shape == (3, 1)
    for level in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            posterior.quantile(torch.tensor(level))


@pytest.mark.parametrize("drawn", ["random", "sobol"])
def test_samples_have_the_moments(posterior: MixturePosterior, drawn: str) -> None:
    torch.manual_seed(0)
    shape = Size([2**17])
    sampler = SobolQMCNormalSampler(shape, seed=0)
    samples = posterior.rsample(shape) if drawn == "random" else sampler(posterior)
    assert samples.shape == (2**17, 3, 1)
    samples = samples.squeeze(-1)
    mean, covariance = posterior.mean.squeeze(-1), posterior.covariance_matrix
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(samples.T.cov(), covariance, rtol=0.03, atol=0.01)
    # A Gaussian of these moments would not have the mixture's quantiles.
    tail = posterior.quantile(torch.tensor(0.05)).squeeze(-1)
    share = (samples < tail).double().mean(0)
    torch.testing.assert_close(share, torch.full((3,), 0.05).double(), rtol=0, atol=0.003)


def test_samples_are_dealt_to_the_components_by_weight(posterior: MixturePosterior) -> None:
    zeros = torch.zeros(100, 3, 1, dtype=torch.float64)
    samples = posterior.rsample_from_base_samples(Size([100]), zeros).squeeze(-1)
    for weight, mean in zip(posterior.weights, posterior.means, strict=True):
        count = int(((samples - mean).abs() < 1e-6).all(-1).sum())
        assert abs(count - 100 * float(weight)) < 3


def test_base_samples_decide(posterior: MixturePosterior) -> None:
    shape = Size([4, 2])
    base = torch.randn(4, 2, 3, 1, generator=torch.Generator().manual_seed(0))
    first = posterior.rsample_from_base_samples(shape, base)
    assert first.shape == (4, 2, 3, 1)
    assert torch.equal(first, posterior.rsample_from_base_samples(shape, base))


def test_one_sample_may_come_from_any_component(posterior: MixturePosterior) -> None:
    near = []
    for seed in range(40):
        sample = IIDNormalSampler(Size([1]), seed=seed)(posterior).squeeze()
        near.append(int((posterior.means - sample).square().sum(-1).argmin()))
    assert len(set(near)) > 1


def test_samples_do_not_depend_on_the_place_in_a_batch(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 2), prior)
    X = prior.space.sample(6, seed=3).reshape(3, 2, 2)
    sampler = SobolQMCNormalSampler(Size([16]), seed=0)
    together = sampler(model.posterior(X))
    assert together.shape == (16, 3, 2, 1)
    torch.testing.assert_close(together[:, 2:], sampler(model.posterior(X[2:])))


def test_samples_of_a_batch_with_its_own_weights(prior: Prior, observe: Observe) -> None:
    tasks = [observe(prior, 3, seed=seed) for seed in range(2)]
    X, Y = (torch.stack(values) for values in zip(*tasks, strict=True))
    posterior = MixturePriorGP(X, Y, prior).posterior(prior.space.sample(2, seed=5))
    samples = posterior.rsample(Size([40_000])).squeeze(-1)
    mean, deviation = posterior.mean.squeeze(-1), posterior.variance.sqrt().squeeze(-1)
    assert bool(((samples.mean(0) - mean).abs() < 0.05 * deviation).all())
    torch.testing.assert_close(samples.std(0), deviation, rtol=0.05, atol=0)


def test_gradients_flow_through_samples(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 3), prior)
    base = torch.randn(8, 2, 1, generator=torch.Generator().manual_seed(0)).double()

    def draw(X: Tensor) -> Tensor:
        return model.posterior(X).rsample_from_base_samples(Size([8]), base)

    X = prior.space.sample(2, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(draw, (X,), atol=1e-4)


def test_repeated_points_have_equal_samples(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 3), prior)
    posterior = model.posterior(prior.space.sample(1, seed=0).expand(5, -1))
    samples = posterior.rsample(Size([10]))
    torch.testing.assert_close(samples, samples[:, :1].expand(-1, 5, -1), rtol=0, atol=1e-3)


def test_affine_map(posterior: MixturePosterior) -> None:
    mapped = posterior.affine(-3.0, 2.0)
    torch.testing.assert_close(mapped.mean, 2.0 - 3.0 * posterior.mean)
    torch.testing.assert_close(mapped.covariance_matrix, 9.0 * posterior.covariance_matrix)
    value = posterior.mean + 0.4
    torch.testing.assert_close(mapped.cdf(2.0 - 3.0 * value), 1 - posterior.cdf(value))


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.size = max(self.size, result.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("batch", [(), (3,)])
def test_samples_share_a_root(prior: Prior, observe: Observe, batch: tuple[int, ...]) -> None:
    q, count = 20, 4096
    model = MixturePriorGP(*observe(prior, 5), prior)
    posterior = model.posterior(prior.space.sample(q, seed=3).expand(*batch, q, 2))
    with Largest() as largest:
        samples = posterior.rsample(Size([count]))
    assert largest.size <= samples.numel() * 8  # a root for each sample would be 20 times that


def test_no_samples_and_samples_at_no_points(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 3), prior)
    X = prior.space.sample(2, seed=3)
    assert model.posterior(X).rsample(Size([0])).shape == (0, 2, 1)
    for points in (X[:0], X[:0].expand(3, 0, 2)):
        posterior = model.posterior(points)
        assert posterior.rsample(Size([4])).shape == (4, *points.shape[:-1], 1)
        assert SobolQMCNormalSampler(Size([]), seed=0)(model.posterior(X)).shape == (2, 1)
