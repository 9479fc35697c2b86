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
    Pairs,
    Remainder,
    e_step,
    expectation,
    fit_gaussian,
    fit_mixture,
    held_out_evidence,
    likely_pairs,
)
from metabo.mixture.components import matern52
from metabo.mixture.em import _updated
from metabo.mixture.expectation import moments
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


@pytest.fixture(params=["compiled", "PyTorch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to take the E step."""
    if request.param == "PyTorch":
        monkeypatch.setattr(e_step, "_sum_over_pairs", None)
    elif not e_step.is_compiled():
        pytest.skip("not compiled")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("components", [1, 3])
def test_no_step_lowers_the_marginal_likelihood(ragged: Tasks, components: int) -> None:
    few, width = HeadStatistics.of_tasks(*ragged, REMAINDER), ragged[0].shape[-1]
    # A covariance is widened by the mean's own uncertainty, which many tasks make negligible.
    statistics = few.select(torch.arange(5).repeat(1000))
    prior = random_prior(components, width, width)
    tiny = EMSettings(shrinkage=1e-9, base_shrinkage=1e-9)
    base = torch.eye(width).double()
    every = Pairs.every(statistics.num_tasks, components, base.device)
    evidence = []
    for _ in range(8):
        found, _ = moments(statistics, prior, every)
        before = float(found.evidence) / statistics.num_tasks
        updated = _updated(prior, found, statistics.num_tasks, tiny, base)
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
    again = fit_mixture(statistics, one, 3, replace(PLAIN, iterations=1), seed=0, start=fitted)
    torch.testing.assert_close(again.means, fitted.means, rtol=0, atol=0.02)  # no k-means again
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


def curved_tasks(count: int, seed: int) -> HeadStatistics:
    """Tasks whose heads lie along a bent line, so that one with many components is near few."""
    generator = torch.Generator().manual_seed(seed)
    place = 6 * torch.rand(count, generator=generator).double()
    heads = torch.stack([place.sin(), place.cos(), place / 3], -1)
    return sampled_tasks(heads, 4, seed=seed)


def test_few_pairs_do_what_all_pairs_do() -> None:
    train, new = curved_tasks(600, seed=0), curved_tasks(600, seed=1)
    settings = EMSettings(iterations=15, tolerance=0.0)
    one = fit_gaussian(train, start(3), settings)
    sparse, full = (
        fit_mixture(train, one, 20, replace(settings, nearest=nearest), seed=0)
        for nearest in (6, 20)
    )
    one_evidence = held_out_evidence(new, one).mean()
    full_evidence, sparse_evidence = (held_out_evidence(new, m).mean() for m in (full, sparse))
    assert full_evidence > one_evidence + 1
    assert sparse_evidence == pytest.approx(float(full_evidence), abs=0.01)
    torch.testing.assert_close(sparse.means, full.means, rtol=0, atol=0.05)


def test_likely_pairs_hold_nearly_all_of_every_task() -> None:
    statistics = curved_tasks(300, seed=0)
    one = fit_gaussian(statistics, start(3), EMSettings())
    mixture = fit_mixture(statistics, one, 20, EMSettings(), seed=0)
    every = Pairs.every(300, 20, mixture.means.device)
    shares = expectation(statistics, mixture, every).shares.view(300, 20)
    chosen = likely_pairs(statistics, mixture, 6)
    assert len(chosen.task) == 300 * 6
    kept = (
        torch.zeros(300).double().index_add_(0, chosen.task, shares[chosen.task, chosen.component])
    )
    # A task of which little is known is not seen so well by what it would say on average.
    assert float((kept > 0.98).double().mean()) > 0.95
    assert float(kept.mean()) > 0.99


def test_pairs_stay_with_their_task_and_are_joined_once() -> None:
    mask = torch.rand(50, 7, generator=torch.Generator().manual_seed(0)) < 0.4
    mask[:, 0] = True
    pairs = Pairs.where(mask)
    parts = pairs.split(5)
    assert torch.equal(torch.cat([part.task for part in parts]), pairs.task)
    assert torch.equal(torch.cat([part.component for part in parts]), pairs.component)
    tasks = torch.cat([part.task.unique() for part in parts])
    assert len(tasks) == 50
    assert len(parts) > 10
    other = torch.rand(50, 7, generator=torch.Generator().manual_seed(1)) < 0.4
    joined = pairs.union(Pairs.where(other))
    assert torch.equal(joined.task, Pairs.where(mask | other).task)
    assert torch.equal(joined.component, Pairs.where(mask | other).component)


@pytest.mark.usefixtures("way")
def test_moments_over_few_pairs_are_those_of_dense_algebra(ragged: Tasks) -> None:
    statistics = HeadStatistics.of_tasks(*ragged, REMAINDER)
    prior = random_prior(3, ragged[0].shape[-1], 4)
    mask = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    found, shares = moments(statistics, prior, Pairs.where(mask))
    mass, first, second = torch.zeros(3), torch.zeros(3, 4), torch.zeros(3, 4, 4)
    mass, first, second = mass.double(), first.double(), second.double()
    all_shares = []
    for t in range(5):
        own = [k for k in range(3) if mask[t, k]]
        densities, heads = [], []
        for k in own:
            m, R = prior.means[k], prior.roots[k]
            G, b = statistics.precision[t], statistics.projection[t]
            covariance = torch.linalg.inv(torch.eye(4).double() + R.T @ G @ R)
            center = covariance @ R.T @ (b - G @ m)
            # At any v, p(y) = p(y | v) p(v) / p(v | y): here at v = 0.
            inverse = torch.linalg.inv(covariance)
            log_p = -0.5 * (statistics.energy[t] - 2 * b @ m + m @ G @ m)
            log_p += 0.5 * center @ inverse @ center - 0.5 * inverse.logdet()
            densities.append(log_p + prior.log_weights[k])
            heads.append((center, covariance))
        own_shares = torch.stack(densities).softmax(0)
        all_shares.append(own_shares)
        for k, share, (center, covariance) in zip(own, own_shares, heads, strict=True):
            mass[k] += share
            first[k] += share * center
            second[k] += share * (covariance + center.outer(center))
    torch.testing.assert_close(shares, torch.cat(all_shares))
    torch.testing.assert_close(found.mass, mass)
    torch.testing.assert_close(found.first, first)
    torch.testing.assert_close(found.second, second)


def test_compiled_or_not_the_moments_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if not e_step.is_compiled():
        pytest.skip("not compiled")
    generator = torch.Generator().manual_seed(0)
    for features, rank, components in ((17, 17, 9), (33, 20, 3), (8, 8, 2), (5, 1, 7), (1, 1, 1)):
        half = torch.randn(900, features, 6, generator=generator).double()
        statistics = HeadStatistics(
            10 * half @ half.mT,
            5 * torch.randn(900, features, generator=generator).double(),
            torch.rand(900, generator=generator).double(),
        )
        prior = random_prior(components, features, rank)
        mask = torch.rand(900, components, generator=generator) < 0.6
        mask[:, 0] = True  # each task has a pair
        pairs = Pairs.where(mask)
        compiled = moments(statistics, prior, pairs)
        with monkeypatch.context() as patch:
            patch.setattr(e_step, "_sum_over_pairs", None)
            expected = moments(statistics, prior, pairs)
        torch.testing.assert_close(compiled[1], expected[1], rtol=1e-8, atol=1e-10)
        for name in ("evidence", "mass", "first", "second"):
            found, exact = getattr(compiled[0], name), getattr(expected[0], name)
            assert (found - exact).norm() < 1e-10 * exact.norm(), name


@pytest.mark.usefixtures("way")
def test_a_posterior_of_nearly_singular_precision_is_exact() -> None:
    # Observations of variance 1e-10 in all directions but one, of which they say 1e-16 as much.
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator).double())[0]
    scales = torch.tensor([1e10, 1e8, 1e6, 1e2, 1.0, 1e-6]).double()
    precision = rotation @ scales.diag() @ rotation.mT
    statistics = HeadStatistics(
        precision[None], torch.zeros(1, 6).double(), torch.zeros(1).double()
    )
    identity = HeadPrior(
        torch.zeros(1).double(), torch.zeros(1, 6).double(), torch.eye(6)[None].double()
    )
    found, _ = moments(statistics, identity, Pairs.every(1, 1, precision.device))
    exact = rotation @ (1 / (1 + scales)).diag() @ rotation.mT
    torch.testing.assert_close(found.second[0], exact, rtol=1e-5, atol=1e-6)
    assert float(found.evidence) == pytest.approx(-0.5 * float((1 + scales).log().sum()), abs=1e-6)


@pytest.mark.usefixtures("way")
def test_what_is_not_finite_is_an_error() -> None:
    precision = torch.full((1, 2, 2), torch.nan).double()
    statistics = HeadStatistics(precision, torch.zeros(1, 2).double(), torch.zeros(1).double())
    with pytest.raises(torch.linalg.LinAlgError):
        moments(statistics, random_prior(1, 2, 2), Pairs.every(1, 1, precision.device))
