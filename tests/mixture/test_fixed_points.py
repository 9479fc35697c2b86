"""What is kept of fixed points, against predictions made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metabo.meta_training.levels import Levels
from metabo.mixture import ConditionedMixture, Mixture, condition, fit_broad
from metabo.mixture import fixed_points as module
from metabo.mixture.fixed_points import FixedPoints, fit_in_memory
from metabo.prior import Prior

Observe = Callable[..., tuple[Tensor, Tensor]]
Made = Callable[..., Prior]

NUM_POINTS = 700


@pytest.fixture
def points(prior: Prior) -> tuple[Tensor, Tensor]:
    return prior.encode(prior.space.sample(NUM_POINTS, seed=7))


@pytest.fixture
def fixed(points: tuple[Tensor, Tensor]) -> FixedPoints:
    return FixedPoints(*points)


def given(
    prior: Prior, X: Tensor, Y: Tensor, mixture: Mixture | None = None, **noise: Tensor
) -> ConditionedMixture:
    return condition(mixture or prior.mixture, *prior.encode(X), Y.squeeze(-1), **noise)


def agree(fixed: FixedPoints, conditioned: ConditionedMixture, points: tuple) -> None:
    """As predicted anew, at all points and at some."""
    expected = conditioned.predict(*points)
    some = torch.tensor([5, 3, 600])
    for at in (slice(None), slice(90, 300), some):
        found = fixed.marginals(conditioned)(at)
        torch.testing.assert_close(found.means, expected.means[:, at], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found.variances, expected.variances[:, at], rtol=1e-7, atol=1e-9)
    observed = conditioned.points
    for row in {0, len(observed[0]) // 2, len(observed[0]) - 1} if len(observed[0]) else ():
        reference = (observed[0][row : row + 1], observed[1][row : row + 1])
        expected = conditioned.compare(reference, points)
        found = fixed.compare(conditioned, row)(slice(None))
        torch.testing.assert_close(found.shared, expected.shared, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found.means, expected.means, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found.reference.means, expected.reference.means)
        torch.testing.assert_close(found.reference.variances, expected.reference.variances)


def test_one_observation_after_another(
    prior: Prior, observe: Observe, fixed: FixedPoints, points: tuple
) -> None:
    X, Y = observe(prior, 30)
    X[12], X[20:23] = X[4], X[19]  # replicates
    for n in range(31):
        agree(fixed, given(prior, X[:n], Y[:n]), points)


def test_tasks_that_differ_in_level(
    prior: Prior, observe: Observe, fixed: FixedPoints, points: tuple
) -> None:
    scales = torch.tensor([0.5, 1.0, 2.0]).double()
    levels = Levels(torch.tensor(0.3), torch.tensor(0.2), scales, (scales / 3.5).log())
    mixture = levels.apply(prior.mixture)
    X, Y = observe(prior, 9)
    for n in (1, 2, 5, 9):
        agree(fixed, given(prior, X[:n], Y[:n], mixture), points)


def test_whatever_history_comes_next(
    prior: Prior, observe: Observe, fixed: FixedPoints, points: tuple
) -> None:
    X, Y = observe(prior, 12)
    other = prior.space.sample(12, seed=5)
    agree(fixed, given(prior, X, Y), points)
    agree(fixed, given(prior, X[:8], Y[:8]), points)  # what was believed is believed no more
    agree(fixed, given(prior, torch.cat([X[:8], other[:3]]), Y[:11]), points)
    agree(fixed, given(prior, X[:8], Y[:8].flip(0)), points)  # other values
    agree(fixed, given(prior, X.flip(0), Y), points)
    agree(fixed, given(prior, other, Y), points)
    agree(fixed, given(prior, X[:0], Y[:0]), points)


def test_whatever_mixture_comes_next(
    make_prior: Made, prior: Prior, observe: Observe, fixed: FixedPoints, points: tuple
) -> None:
    X, Y = observe(prior, 6)
    agree(fixed, given(prior, X, Y), points)
    few = given(prior, X, Y).select(torch.tensor([7, 2]))
    agree(fixed, few, points)
    features, inputs = prior.encode(X)
    fitted = prior.with_broad(fit_broad(features, inputs, Y.squeeze(-1), None), 0.1).mixture
    agree(fixed, given(prior, X, Y, fitted), points)
    noisier = replace(prior.mixture, noises=2 * prior.mixture.noises)
    agree(fixed, given(prior, X, Y, noisier), points)
    agree(fixed, given(prior, X, Y, make_prior(seed=3).mixture), points)
    index = torch.tensor([1, 1, 0])  # one component twice
    agree(fixed, given(prior, X, Y).select(index), points)
    agree(fixed, given(prior, torch.cat([X, X]), torch.cat([Y, Y])).select(index), points)


def test_known_noise(prior: Prior, observe: Observe, fixed: FixedPoints, points: tuple) -> None:
    X, Y = observe(prior, 5)
    noise = torch.tensor([0.1, torch.nan, 0.3, 0.2, torch.nan]).double()
    agree(fixed, given(prior, X[:4], Y[:4], noise=noise[:4]), points)
    agree(fixed, given(prior, X, Y, noise=noise), points)
    agree(fixed, given(prior, X, Y, noise=noise.flip(0)), points)


def test_jitter(prior: Prior, observe: Observe, fixed: FixedPoints, points: tuple) -> None:
    X, Y = observe(prior, 6)
    X[3:5], Y[3:5] = X[2], Y[2]
    exact = torch.zeros(6).double()
    for n in (2, 4, 5, 6, 3):
        conditioned = given(prior, X[:n], Y[:n], noise=exact[:n])
        assert (conditioned.jitter > 0) == (n > 3)
        expected, found = conditioned.predict(*points), fixed.marginals(conditioned)(slice(None))
        # A jitter of 1e-10 leaves so much of rounding, whoever computes.
        torch.testing.assert_close(found.means, expected.means, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.variances, expected.variances, rtol=1e-4, atol=1e-4)


def test_memory(
    monkeypatch: pytest.MonkeyPatch,
    prior: Prior,
    observe: Observe,
    fixed: FixedPoints,
    points: tuple,
) -> None:
    X, Y = observe(prior, 10)
    conditioned = given(prior, X, Y)
    assert fit_in_memory(30_000, conditioned)
    assert not fit_in_memory(30_000_000, conditioned)
    # With room for six components: those that are not asked for are forgotten.
    monkeypatch.setattr(module, "_MOST_NUMBERS", 6 * module._ROOM * NUM_POINTS)
    for first in range(0, 20, 4):
        agree(fixed, conditioned.select(torch.arange(first, first + 4)), points)
        assert sum(part.explained.numel() for part in fixed._followed.values()) <= (
            module._MOST_NUMBERS
        )
