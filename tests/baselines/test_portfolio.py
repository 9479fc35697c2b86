"""The portfolio against brute force."""

from __future__ import annotations

from itertools import combinations

import torch

from metabo.baselines.portfolio import portfolio

VALUES = torch.rand(4, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def regret(chosen: list[int]) -> float:
    best, worst = VALUES.amax(-1), VALUES.amin(-1)
    return float(((best - VALUES[:, chosen].amax(-1)) / (best - worst)).mean())


def test_each_lowers_the_mean_regret_the_most() -> None:
    found = portfolio(VALUES, 3)
    for i in range(3):
        assert regret(found[: i + 1]) == min(regret([*found[:i], j]) for j in range(9))
    assert len(set(found)) == 3
    assert regret(found) <= 1.3 * min(regret(list(pair)) for pair in combinations(range(9), 2))


def test_units_of_a_task_do_not_matter() -> None:
    others = VALUES * torch.tensor([[1.0], [100.0], [0.01], [5.0]]) - 7.0
    assert portfolio(others, 4) == portfolio(VALUES, 4)


def test_no_more_than_there_are() -> None:
    assert sorted(portfolio(VALUES[:, :2], 5)) == [0, 1]
    assert sorted(portfolio(torch.ones(2, 3), 3)) == [0, 1, 2]
