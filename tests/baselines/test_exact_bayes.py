"""Exact Bayes against a family whose posterior is known: a line of unknown slope."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from metabo.baselines.exact_bayes import ExactBayes, ExactBayesSearch
from metabo.tasks import FunctionFamily

NOISE = 0.3


def line(X: Tensor, slope: Tensor, idle: Tensor | None = None) -> Tensor:
    return slope * X


FAMILY = FunctionFamily(line, {"slope": (0, 1)}, bounds=(-2, 2), noise_sd=NOISE)
BAYES = ExactBayes(FAMILY, num_draws=50_000)
X = torch.tensor([[0.5], [1.5]], dtype=torch.float64)
Y = torch.tensor([[0.4], [0.9]], dtype=torch.float64)
QUERY = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)


def slope_posterior() -> stats.rv_frozen:
    """With a flat prior on [0, 1], least squares cut off at both ends."""
    precision = float((X**2).sum()) / NOISE**2
    mean, sd = float((X * Y).sum() / (X**2).sum()), precision**-0.5
    return stats.truncnorm((0 - mean) / sd, (1 - mean) / sd, mean, sd)


def test_posterior_is_the_truncated_normal() -> None:
    found = BAYES.predict(X, Y, QUERY)
    slope, x = slope_posterior(), QUERY[:, 0]
    torch.testing.assert_close(found.mean, slope.mean() * x, rtol=0.01, atol=0)
    expected = slope.var() * x**2 + NOISE**2
    torch.testing.assert_close(found.variance, expected, rtol=0.01, atol=0)


def test_density_integrates_the_noise_over_the_posterior() -> None:
    y = torch.tensor([0.1, 0.2, 1.1], dtype=torch.float64)
    expected = [
        slope_posterior().expect(lambda a, x=x, y=y: stats.norm.pdf(y, a * x, NOISE))
        for x, y in zip(QUERY[:, 0].tolist(), y.tolist(), strict=True)
    ]
    found = BAYES.predict(X, Y, QUERY).log_prob(y).exp()
    torch.testing.assert_close(found, found.new_tensor(expected), rtol=0.01, atol=0)


def test_many_precise_observations_leave_enough_draws() -> None:
    family = FunctionFamily(line, {"slope": (0, 1), "idle": (3, 3)}, (-2, 2), noise_sd=1e-4)
    X = torch.linspace(-2, 2, 200, dtype=torch.float64).unsqueeze(-1)
    noise = 1e-4 * torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    draws = ExactBayes(family, num_draws=2000).posterior(X, 0.123456 * X + noise)
    slope, weights = draws.parameters["slope"], draws.log_weights.exp()
    mean = float(weights @ slope)
    sd = 1e-4 / float(X.square().sum().sqrt())
    estimate = 0.123456 + float((X * noise).sum() / X.square().sum())
    assert draws.effective_share > 0.01
    assert mean == pytest.approx(estimate, abs=0.3 * sd)
    assert float(weights @ (slope - mean).square()) == pytest.approx(sd**2, rel=0.3)


def test_without_observations_it_is_the_prior() -> None:
    found = BAYES.predict(X[:0], Y[:0], QUERY)
    torch.testing.assert_close(found.mean, 0.5 * QUERY[:, 0], rtol=0.02, atol=1e-12)


def test_a_family_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="noise_sd > 0"):
        ExactBayes(FunctionFamily(line, {"slope": (0, 1)}, bounds=(-2, 2)))


def test_search_scores_are_the_expected_improvement() -> None:
    grid = torch.linspace(-2, 2, 9, dtype=torch.float64).unsqueeze(-1)

    def closeness(Y: Tensor, X: Tensor) -> Tensor:
        return -(Y[..., 0] - 0.8).abs()

    search = ExactBayesSearch(BAYES, grid, objective=closeness)
    expected_first = stats.uniform().expect(lambda a: -abs(a * 1.5 - 0.8))
    assert search.scores(torch.tensor([7])).item() == pytest.approx(expected_first, abs=0.01)
    for x, y in zip(X[:, 0].tolist(), Y[:, 0].tolist(), strict=True):
        search.tell({"x": x}, y)

    def improvement(slope: float) -> float:
        gaps = [abs(slope * x - 0.8) for x in (0.5, 1.5, 1.0)]
        return max(min(gaps[:2]) - gaps[2], 0.0)

    expected = slope_posterior().expect(improvement)
    assert search.scores(torch.tensor([6])).item() == pytest.approx(expected, rel=0.02)


def test_search_finds_the_target() -> None:
    grid = torch.linspace(-2, 2, 41, dtype=torch.float64).unsqueeze(-1)
    search = ExactBayesSearch(BAYES, grid, objective=lambda Y, X: -(Y[..., 0] - 0.6).abs())
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        x = search.ask()
        noise = NOISE * torch.randn((), generator=generator).item()
        search.tell(x, 0.5 * x["x"] + noise)
    assert (0.5 * search.X - 0.6).abs().min() < 0.06
