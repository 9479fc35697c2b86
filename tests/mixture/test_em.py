"""Expectation maximisation against dense algebra, and on families that are known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from metabo.mixture import (
    EMSettings,
    HeadPrior,
    HeadStatistics,
    Remainder,
    fit_gaussian,
    fit_mixture,
    held_out_evidence,
)
from metabo.mixture.components import matern52
from metabo.mixture.em import _step
from metabo.prior import Prior

REMAINDER = Remainder(
    torch.tensor(0.1).double(), torch.tensor([0.8, 1.5]).double(), torch.tensor(0.02).double()
)
# No shrinkage: what is maximised is the marginal likelihood itself.
PLAIN = EMSettings(iterations=60, tolerance=0.0, shrinkage=0.0, base_shrinkage=0.0, min_signal=0.0)

Tasks = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def ragged(prior: Prior) -> Tasks:
    """Features, inputs, targets and mask of tasks with 1 to 6 observations."""
    X = prior.space.sample(5 * 6, seed=0).reshape(5, 6, 2)
    features, inputs = prior.encode(X)
    targets = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).double()
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 2, 5])[:, None]
    return features, inputs, targets, mask


def random_prior(components: int, width: int, rank: int, seed: int = 0) -> HeadPrior:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(components, generator=generator).double()
    means = torch.randn(components, width, generator=generator).double()
    roots = torch.randn(components, width, rank, generator=generator).double()
    return HeadPrior((weights / weights.sum()).log(), means, roots)


def test_evidence_is_the_dense_marginal_likelihood(ragged: Tasks) -> None:
    features, inputs, targets, mask = ragged
    prior = random_prior(3, features.shape[-1], 4)
    evidence = held_out_evidence(HeadStatistics.of_tasks(*ragged, REMAINDER), prior)
    for t, count in enumerate(mask.sum(-1)):
        phi, z, y = features[t, :count], inputs[t, :count], targets[t, :count]
        noise = REMAINDER.noise * torch.eye(count).double()
        kernel = REMAINDER.outputscale * matern52(z, z, REMAINDER.lengthscales) + noise
        density = sum(
            w.exp().item() * multivariate_normal.pdf(y, phi @ m, phi @ R @ R.T @ phi.T + kernel)
            for w, m, R in zip(prior.log_weights, prior.means, prior.roots, strict=True)
        )
        assert evidence[t].item() == pytest.approx(np.log(density), rel=1e-8)


def test_padding_adds_nothing(ragged: Tasks) -> None:
    features, inputs, targets, mask = ragged
    wild = torch.where(mask, 0.0, 1e3).double()
    other = HeadStatistics.of_tasks(
        features + wild[..., None], inputs, targets + wild, mask, REMAINDER
    )
    expected = HeadStatistics.of_tasks(*ragged, REMAINDER)
    for name in ("precision", "projection", "energy"):
        torch.testing.assert_close(getattr(other, name), getattr(expected, name))


def test_shifted_statistics_are_those_in_other_coordinates(ragged: Tasks) -> None:
    statistics = HeadStatistics.of_tasks(*ragged, REMAINDER)
    width = ragged[0].shape[-1]
    one = random_prior(1, width, 3, seed=1)
    inside = random_prior(2, 3, 2, seed=2)
    mean, root = one.means[0], one.roots[0]
    outside = HeadPrior(inside.log_weights, mean + inside.means @ root.T, root @ inside.roots)
    torch.testing.assert_close(
        held_out_evidence(statistics.shifted(mean, root), inside),
        held_out_evidence(statistics, outside),
    )


@pytest.mark.parametrize("components", [1, 3])
def test_no_step_lowers_the_marginal_likelihood(ragged: Tasks, components: int) -> None:
    few, width = HeadStatistics.of_tasks(*ragged, REMAINDER), ragged[0].shape[-1]
    # A covariance is widened by the mean's own uncertainty, which many tasks make negligible.
    statistics = few.select(torch.arange(5).repeat(2000))
    prior = random_prior(components, width, width)
    tiny = EMSettings(shrinkage=1e-9, base_shrinkage=1e-9)
    base = torch.eye(width).double()
    evidence = []
    for _ in range(8):
        before, updated = _step(statistics, prior, tiny, base)
        assert before == pytest.approx(float(held_out_evidence(statistics, prior).mean()))
        evidence.append(before)
        prior = updated
    gains = torch.tensor(evidence).diff()
    assert gains[0] > 0.1
    assert bool((gains > -1e-3).all())


def sampled_tasks(heads: Tensor, points: int, seed: int) -> HeadStatistics:
    """Linear functions of few features, observed with noise of variance 0.02."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(heads), points, heads.shape[-1], generator=generator).double()
    noise = torch.randn(len(heads), points, generator=generator).double()
    targets = (features @ heads.unsqueeze(-1)).squeeze(-1) + 0.02**0.5 * noise
    remainder = Remainder(
        torch.tensor(1e-9).double(), torch.ones(1).double(), torch.tensor(0.02).double()
    )
    inputs = features[..., :1]
    mask = torch.ones_like(targets, dtype=torch.bool)
    return HeadStatistics.of_tasks(features, inputs, targets, mask, remainder)


def start(width: int) -> HeadPrior:
    eye = torch.eye(width).double()
    return HeadPrior(torch.zeros(1).double(), torch.zeros(1, width).double(), eye[None])


def test_recovers_a_known_gaussian_from_tasks_with_fewer_points_than_features() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    root = torch.tensor([[1.0, 0, 0], [0.8, 0.3, 0], [0, 0, 0.1]]).double()
    heads = mean + torch.randn(2000, 3, generator=generator).double() @ root.T
    fitted = fit_gaussian(sampled_tasks(heads, 2, seed=1), start(3), PLAIN)
    torch.testing.assert_close(fitted.means[0], mean, rtol=0, atol=0.06)
    covariance = fitted.roots[0] @ fitted.roots[0].T
    torch.testing.assert_close(covariance, root @ root.T, rtol=0, atol=0.1)


def test_recovers_a_known_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    centers = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0]]).double()
    spreads = torch.tensor([0.2, 0.5, 0.3]).double()
    shares = torch.tensor([0.5, 0.3, 0.2])
    labels = torch.multinomial(shares, 1500, replacement=True, generator=generator)
    noise = torch.randn(1500, 2, generator=generator).double()
    heads = centers[labels] + spreads[labels, None] * noise
    statistics = sampled_tasks(heads, 3, seed=1)
    one = fit_gaussian(statistics, start(2), PLAIN)
    fitted = fit_mixture(statistics, one, 3, PLAIN, seed=0)
    order = torch.cdist(centers, fitted.means).argmin(-1)
    assert sorted(order.tolist()) == [0, 1, 2]
    torch.testing.assert_close(fitted.means[order], centers, rtol=0, atol=0.1)
    weights = fitted.log_weights.exp()[order]
    torch.testing.assert_close(weights, shares.double(), rtol=0, atol=0.04)
    for k, spread in zip(order, spreads, strict=True):
        covariance = fitted.roots[k] @ fitted.roots[k].T
        torch.testing.assert_close(covariance, spread**2 * torch.eye(2).double(), rtol=0, atol=0.05)
    new = sampled_tasks(heads.roll(1, 0), 3, seed=2)
    assert float(held_out_evidence(new, fitted).mean()) > float(held_out_evidence(new, one).mean())


def test_few_tasks_keep_the_start_in_the_covariance() -> None:
    heads = torch.tensor([[1.0, 1.0], [1.1, 1.0]]).double()
    statistics = sampled_tasks(heads, 20, seed=0)
    fitted = fit_gaussian(statistics, start(2), replace(PLAIN, base_shrinkage=1.0))
    variances = (fitted.roots[0] @ fitted.roots[0].T).diagonal()
    assert bool((variances > 0.2).all())
    loose = fit_gaussian(statistics, start(2), replace(PLAIN, base_shrinkage=1e-6))
    assert bool(((loose.roots[0] @ loose.roots[0].T).diagonal() < 0.1).all())


def test_directions_that_no_task_sees_are_dropped() -> None:
    heads = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    statistics = sampled_tasks(heads, 5, seed=1)
    blind = torch.tensor([1.0, 1.0, 0.0]).double()
    statistics = HeadStatistics(
        statistics.precision * blind * blind[:, None],
        statistics.projection * blind,
        statistics.energy,
    )
    assert fit_gaussian(statistics, start(3), EMSettings()).roots.shape == (1, 3, 2)


@pytest.mark.parametrize("components", [2, 4])
def test_the_same_seed_gives_the_same_mixture(
    make_prior: Callable[..., Prior], components: int
) -> None:
    heads = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
    statistics = sampled_tasks(heads, 4, seed=1)
    one = fit_gaussian(statistics, start(3), EMSettings())
    first, second = (
        fit_mixture(statistics, one, components, EMSettings(), seed=3) for _ in range(2)
    )
    assert torch.equal(first.means, second.means)
    assert torch.equal(first.roots, second.roots)
    torch.testing.assert_close(first.log_weights.exp().sum(), torch.ones(()).double())
