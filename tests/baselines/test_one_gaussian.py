"""One Gaussian prior against conditioning by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.one_gaussian import GaussianPrior, OneGaussianSearch, PooledGPSearch
from metabo.tasks import TableFamily

GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


def test_the_posterior_is_that_of_a_normal_distribution(runs: EarlierRuns) -> None:
    gaussian = GaussianPrior(runs).gaussian(GRID)
    search = OneGaussianSearch(runs, gaussian, GRID)
    rows = torch.tensor([5, 20, 33])
    for x, y in zip(GRID[rows, 0].tolist(), (2.1, 2.4, 3.0), strict=True):
        search.tell({"x": x}, y)
    everything, b = torch.arange(41), search.likeliest_scale()
    mean = search.offset + b * gaussian.mean
    covariance = b**2 * gaussian.covariance(everything, everything) + search.offset_variance
    gram = covariance[rows][:, rows] + b**2 * gaussian.noise * torch.eye(3)
    gain = covariance[:, rows] @ torch.linalg.inv(gram)
    found = search.predict(everything)
    torch.testing.assert_close(found.mean, mean + gain @ (search.Y[:, 0] - mean[rows]))
    expected = (covariance - gain @ covariance[rows]).diagonal()
    torch.testing.assert_close(found.variance, expected, rtol=1e-6, atol=1e-9)


def test_the_scale_is_the_likeliest(runs: EarlierRuns) -> None:
    search = OneGaussianSearch(runs, GaussianPrior(runs).gaussian(GRID), GRID)
    assert float(search.likeliest_scale()) == pytest.approx(float(runs.scales.log().mean().exp()))
    for x in (-3.0, -1.0, 1.0, 2.0, 3.0):
        search.tell({"x": x}, 2 + 50 * math.exp(-0.5 * (x - 1.8) ** 2))
    assert float(search.likeliest_scale()) == float(search.scales[-1])
    densities = [
        MultivariateNormal(
            search.offset + b * search.gaussian.mean[search.measured], search._gram(b)
        ).log_prob(search.Y[:, 0])
        for b in (search.scales[0], search.scales[-1])
    ]
    assert densities[0] < densities[1]


def test_it_finds_the_top_at_once(runs: EarlierRuns) -> None:
    search = GaussianPrior(runs).search(GRID)
    assert isinstance(search, OneGaussianSearch)
    for _ in range(4):
        x = search.ask()
        search.tell(x, 2 + 1.3 * math.exp(-0.5 * (x["x"] - 1.2) ** 2))
    assert (search.X - 1.2).abs().min() < 0.21


def test_two_tasks_give_the_mean_and_what_a_new_one_differs_by(runs: EarlierRuns) -> None:
    two = EarlierRuns(TableFamily(runs.tasks[:2], runs.space))
    prior = GaussianPrior(two)
    search = prior.search(GRID)
    assert isinstance(search, PooledGPSearch)
    everything = torch.arange(41)
    mean = two.values(GRID).mean(0)
    torch.testing.assert_close(search.predict(everything).mean, mean, atol=0.3, rtol=0)
    assert search.ask()["x"] == GRID[search.predict(everything).mean.argmax()].item()
    # What two tasks differ by is what a third may be off by; one task says nothing of that.
    deviations = (two.values(GRID) - mean) / two.average_units[1]
    assert 0.2 < search.process.log_outputscale.exp() / (3 * deviations.square().mean()) < 5
    assert prior.search(GRID).process is search.process  # fitted once


def test_where_tasks_were_measured_elsewhere_the_mean_is_a_network(runs: EarlierRuns) -> None:
    part = EarlierRuns(
        TableFamily([t.subset(range(i, 41, 3)) for i, t in enumerate(runs.tasks)], runs.space)
    )
    search = GaussianPrior(part).search(GRID)
    assert isinstance(search, PooledGPSearch)
    average = runs.values(GRID).mean(0)
    found = search.predict(torch.arange(41)).mean
    assert (found - average).square().mean() < 0.1 * average.var()
    for _ in range(5):
        x = search.ask()
        search.tell(x, 2 + 1.3 * math.exp(-0.5 * (x["x"] - 1.2) ** 2))
    assert (search.X - 1.2).abs().min() < 0.21
