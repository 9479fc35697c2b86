"""The mixture's prior: mean, covariance, assembling and selecting components."""

import math
from collections.abc import Callable
from dataclasses import replace

import gpytorch
import pytest
import torch
from torch.autograd import gradcheck

from metabo.mixture import Mixture, concatenate
from metabo.mixture.components import matern52
from metabo.prior import Prior


def test_matern_is_that_of_gpytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 4, 7, 3, generator=generator, dtype=torch.float64)
    kernel = gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=3).double()
    kernel.lengthscale = torch.tensor([0.3, 1.0, 2.5])
    expected = kernel(a, b).to_dense()
    torch.testing.assert_close(matern52(a, b, kernel.lengthscale), expected)


def test_matern_far_from_the_origin_keeps_its_precision() -> None:
    a = 1e6 + torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    near = matern52(a - 1e6, a - 1e6, torch.ones(1).double())
    torch.testing.assert_close(matern52(a, a, torch.ones(1).double()), near, rtol=1e-8, atol=0)


def test_gradient_of_matern_is_finite_where_points_coincide() -> None:
    a = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    matern52(a, a, torch.ones(3).double()).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_gradient_of_matern() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 3, 2, generator=generator, dtype=torch.float64)
    lengthscales = torch.tensor([0.7, 1.9], dtype=torch.float64)
    assert gradcheck(lambda z: matern52(z, b, lengthscales), (a.requires_grad_(),))


def test_moments_of_sampled_functions(make_prior: Callable[..., Prior]) -> None:
    prior = make_prior(num_components=3, amplitude=0.3, trend=0.5)
    mixture, X = prior.mixture, prior.space.sample(5, seed=0)
    features, inputs = prior.encode(X)
    generator = torch.Generator().manual_seed(0)
    draws, rank = 200_000, mixture.roots.shape[-1]
    v = torch.randn(draws, rank, generator=generator, dtype=torch.float64)
    e = torch.randn(draws, 5, generator=generator, dtype=torch.float64)
    covariance = mixture.covariance((features, inputs), (features, inputs))
    for k in range(3):
        heads = mixture.means[k] + v @ mixture.roots[k].T
        trend = features @ mixture.trends[k]
        seen = torch.cat([inputs / mixture.lengthscales[k], trend[:, None]], -1)
        correlation = matern52(seen, seen, torch.ones(3).double())
        size = mixture.outputscales[k].sqrt() * (features @ mixture.amplitudes[k]).exp()
        root = size[:, None] * torch.linalg.cholesky(correlation)
        values = heads @ features.T + e @ root.T
        torch.testing.assert_close(values.mean(0), mixture.mean(features)[k], atol=0.02, rtol=0)
        torch.testing.assert_close(values.T.cov(), covariance[k], atol=0.02, rtol=0.02)
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(mixture.variance(features), diagonal)


def test_the_amplitude_is_bounded(make_prior: Callable[..., Prior]) -> None:
    prior = make_prior(amplitude=0.3)
    steep = replace(prior.mixture, amplitudes=100 * prior.mixture.amplitudes)
    features, _ = prior.encode(prior.space.sample(50, seed=0))
    heads = (features.unsqueeze(-3) @ steep.roots).square().sum(-1)
    factors = ((steep.variance(features) - heads) / steep.outputscales[:, None]).sqrt()
    assert factors.max().item() == pytest.approx(math.exp(3))
    assert factors.min().item() == pytest.approx(math.exp(-3))


def test_batches_are_computed_one_by_one(prior: Prior) -> None:
    X = prior.space.sample(12, seed=0).reshape(2, 3, 2, 2)
    points, mixture = prior.encode(X), prior.mixture
    covariance = mixture.covariance(points, points)
    assert covariance.shape == (2, 3, mixture.num_components, 2, 2)
    single = tuple(value[1, 2] for value in points)
    torch.testing.assert_close(covariance[1, 2], mixture.covariance(single, single))
    torch.testing.assert_close(mixture.mean(points[0])[1, 2], mixture.mean(single[0]))


def test_inference_mode_leaves_nothing_behind(prior: Prior) -> None:
    X = prior.space.sample(3, seed=0)
    with torch.inference_mode():
        points = prior.encode(X)
        prior.mixture.variance(points[0])
        prior.mixture.covariance(points, points)
    X.requires_grad_()
    points = prior.encode(X)
    covariance = prior.mixture.covariance(points, points).sum((-1, -2))
    total = covariance.sum() + prior.mixture.variance(points[0]).sum()
    assert bool(torch.autograd.grad(total, X)[0].isfinite().all())


def test_concatenate_shares_the_probability_and_pads_the_roots(
    make_prior: Callable[..., Prior],
) -> None:
    one, two = (make_prior(num_components=count).mixture for count in (2, 3))
    wide = two.tensors() | {"roots": torch.nn.functional.pad(two.roots, (0, 2))}
    joined = concatenate([(3.0, one), (1.0, Mixture(**wide))])
    weights = joined.log_weights.exp()
    torch.testing.assert_close(weights.sum(), torch.ones(()).double())
    torch.testing.assert_close(weights[:2].sum(), torch.tensor(0.75).double())
    assert joined.roots.shape == (5, 7, 5)
    torch.testing.assert_close(joined.select(torch.arange(2)).means, one.means)


def test_reweighted_normalises(make_prior: Callable[..., Prior]) -> None:
    mixture = make_prior(num_components=2).mixture.reweighted(torch.tensor([0.0, 3.0]).log())
    torch.testing.assert_close(mixture.log_weights.exp(), torch.tensor([0.0, 1.0]))
