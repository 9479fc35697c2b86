"""The Gaussian over candidates against the empirical moments, and on tasks of two kinds."""

from __future__ import annotations

import pytest
import torch

from metabo.baselines.candidate_gaussian import CandidateGaussian
from metabo.baselines.earlier_runs import EarlierRuns

GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


def test_mean_and_covariance_are_the_empirical_ones_but_for_shrinkage(runs: EarlierRuns) -> None:
    values = runs.values(GRID)
    everything = torch.arange(41)
    mean = values.mean(0)
    gaussian = CandidateGaussian(GRID, mean, values - mean, 0.0, 1.0, 0.01)
    expected = (1 + 1 / 5) * values.T.cov()
    torch.testing.assert_close(gaussian.covariance(everything, everything), expected)
    shrunk = CandidateGaussian(GRID, mean, values - mean, 0.4, 1.0, 0.01)
    found = shrunk.covariance(everything, everything)
    assert float(found.trace()) == pytest.approx(float(expected.trace()))  # the same mean variance
    torch.testing.assert_close(found.diagonal(), shrunk.variance(everything))
    assert torch.linalg.eigvalsh(found).min() > -1e-9


def test_shrinkage_is_what_makes_tasks_likeliest_given_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    # Independent smooth tasks: what they share is the kernel, not the few deviations seen.
    covariance = (-0.5 * torch.cdist(codes, codes).square()).exp() + 1e-6 * torch.eye(60)
    root = torch.linalg.cholesky(covariance)
    apart = (root @ torch.randn(60, 5, generator=generator, dtype=torch.float64)).T
    assert CandidateGaussian.estimate(codes, apart).shrinkage >= 0.5
    # Rough tasks along two directions: these are seen, a smooth kernel says nothing.
    directions = torch.randn(2, 60, generator=generator, dtype=torch.float64)
    weights = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    assert CandidateGaussian.estimate(codes, weights @ directions).shrinkage <= 0.3
