"""TST-R against brute force and a task that equals an earlier one."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from scipy.stats import kendalltau

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.task_gps import TaskGPs
from metabo.baselines.tst_r import TSTRSearch, epanechnikov, ranking_distance
from metabo.baselines.vanilla_gp import vanilla_gp
from metabo.space import InputSpace

LINE = InputSpace.from_bounds((-4, 4))
GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


def test_the_distance_is_the_share_of_discordant_pairs() -> None:
    generator = torch.Generator().manual_seed(1)
    predicted = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(6, generator=generator, dtype=torch.float64)
    found = ranking_distance(predicted, y)
    for distance, values in zip(found.tolist(), predicted.tolist(), strict=True):
        pairs = list(permutations(range(6), 2))
        wrong = sum((values[j] < values[k]) != bool(y[j] < y[k]) for j, k in pairs)
        assert distance == pytest.approx(wrong / len(pairs))
        tau = kendalltau(values, y.numpy()).statistic
        assert distance == pytest.approx((1 - tau) / 2)


def test_the_kernel() -> None:
    t = torch.tensor([0.0, 0.5, 1.0, 7.0])
    assert epanechnikov(t).tolist() == [0.75, 0.75 * 0.75, 0.0, 0.0]


def test_only_a_task_of_the_same_ranking_counts(opposites: EarlierRuns) -> None:
    gps = TaskGPs(opposites)
    search = TSTRSearch(gps, GRID)
    for x in (-3.0, -1.0, 0.0, 1.0):
        search.tell({"x": x}, 7 + math.exp(-0.5 * (x - 2.0) ** 2))
    assert search.weights().tolist() == [0.5, 0.0, 0.5]
    found = search.predict(torch.arange(41))
    offset, scale = float(search.Y.mean()), float(search.Y.std())
    with torch.no_grad():
        own = vanilla_gp(search.X, search.Y, LINE).posterior(GRID)
    earlier = offset + scale * gps.predict(GRID)[0][0]
    torch.testing.assert_close(found.mean, 0.5 * (earlier + own.mean[:, 0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.variance, own.variance[:, 0], rtol=1e-3, atol=1e-6)


def test_it_finds_the_top_in_a_few_steps(gps: TaskGPs) -> None:
    search = TSTRSearch(gps, GRID)
    for _ in range(6):
        x = search.ask()
        search.tell(x, -3 + 2 * math.exp(-0.5 * (x["x"] - 1.6) ** 2))
    assert (search.X - 1.6).abs().min() < 0.21
