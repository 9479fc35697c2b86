"""Scores against SciPy and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, MixtureSameFamily, Normal

from metabo.benchmark.metrics import (
    bootstrap_interval,
    coverage,
    crps,
    gap_closed,
    mean_squared_error,
    negative_log_density,
    paired_difference,
)

MEAN = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
SD = torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64)
Y = torch.tensor([0.3, 0.0, 4.0], dtype=torch.float64)
# Two halves of one normal are that normal.
HALVES = MixtureSameFamily(
    Categorical(probs=torch.full((3, 2), 0.5, dtype=torch.float64)),
    Normal(MEAN.unsqueeze(-1).expand(3, 2), SD.unsqueeze(-1).expand(3, 2)),
)


@pytest.mark.parametrize("prediction", [Normal(MEAN, SD), HALVES])
def test_scores_of_predictions(prediction) -> None:
    assert mean_squared_error(prediction, Y) == pytest.approx((0.09 + 1.0 + 36.0) / 3)
    expected = -stats.norm(MEAN.numpy(), SD.numpy()).logpdf(Y.numpy()).mean()
    assert negative_log_density(prediction, Y) == pytest.approx(expected)
    # Off by 0.3, 2 and 2 standard deviations; 90% are within 1.64 and 99% within 2.58.
    assert coverage(prediction, Y) == pytest.approx(1 / 3)
    assert coverage(prediction, Y, level=0.99) == 1.0


@pytest.mark.parametrize("prediction", [Normal(MEAN, SD), HALVES])
def test_crps_of_a_normal_distribution(prediction) -> None:
    z = (Y - MEAN) / SD
    normal = Normal(torch.zeros(3).double(), 1.0)
    density = normal.log_prob(z).exp()
    expected = SD * (z * (2 * normal.cdf(z) - 1) + 2 * density - math.pi**-0.5)
    assert crps(prediction, Y, draws=50_000) == pytest.approx(float(expected.mean()), rel=0.02)


def test_crps_takes_nothing_from_the_global_seed() -> None:
    state = torch.get_rng_state()
    assert crps(Normal(MEAN, SD), Y) == crps(Normal(MEAN, SD), Y)
    assert torch.equal(torch.get_rng_state(), state)


def test_coverage_of_a_true_model_is_its_level() -> None:
    generator = torch.Generator().manual_seed(0)
    Y = torch.randn(20_000, generator=generator)
    assert coverage(Normal(torch.zeros(20_000), 1.0), Y) == pytest.approx(0.9, abs=0.01)


def test_gap_closed() -> None:
    assert gap_closed([4.0, 6.0], [2.0, 2.0], [1.0, 1.0]) == pytest.approx(0.75)
    assert gap_closed([5.0], [5.0], [1.0]) == 0.0


def test_bootstrap_interval_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert bootstrap_interval([1.0, 1.0]) == (1.0, 1.0)
    assert all(math.isnan(end) for end in bootstrap_interval([1.0]))


def test_paired_difference() -> None:
    theirs = np.array([3.0, 5.0, 4.0, 6.0, 9.0])
    found = paired_difference(theirs, theirs - [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == pytest.approx(3.0)
    assert found.p == pytest.approx(2 / 2**5)  # all five signs alike, two-sided
    assert 1.0 < found.low < 3.0 < found.high < 5.0
    assert str(found).startswith("3 (95% interval")
    assert paired_difference(theirs, theirs).p == 1.0
