"""Shifted copies of few tasks: what they are, and that left-out tasks decide on them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metabo import FunctionFamily, LogisticFamily, meta_train
from metabo.benchmark.few_shot import few_shot, grid_episode
from metabo.benchmark.methods import Metabo
from metabo.meta_training.heads import HeadSettings
from metabo.meta_training.meta_train import MetaTrainSettings
from metabo.meta_training.shifts import Shifts, may_help
from metabo.tasks.task import TaskBatch


def batch() -> TaskBatch:
    """Three tasks of y = number of the task + 10 x, the last input is a category."""
    generator = torch.Generator().manual_seed(0)
    numbers = 2 * torch.rand(3, 6, 1, generator=generator, dtype=torch.float64) - 1
    X = torch.cat([numbers, torch.ones_like(numbers)], -1)
    counts = torch.tensor([6, 4, 1])
    mask = torch.arange(6) < counts[:, None]
    X = torch.where(mask.unsqueeze(-1), X, X[:, :1])
    return TaskBatch(X, (torch.arange(3)[:, None] + 10 * X[..., 0]) * mask, counts)


def test_copies_are_the_tasks_moved_along_their_numeric_inputs() -> None:
    tasks = batch()
    found = Shifts(0.2, 1, seed=0).apply(tasks)
    torch.testing.assert_close(found.X[:3], tasks.X)
    torch.testing.assert_close(found.Y[:3], tasks.Y)
    assert len(found) % 3 == 0
    assert len(found) > 200
    assert (found.X[..., 1] == 1).all()
    low, high = tasks.X[..., 0][tasks.mask].aminmax()
    assert ((found.X[..., 0] >= low) & (found.X[..., 0] <= high)).all()
    shifts = []
    for t in range(3, len(found)):
        n, original = int(found.counts[t]), t % 3
        moved = found.X[t, :n, 0] - (found.Y[t, :n] - original) / 10
        torch.testing.assert_close(moved, moved[:1].expand(n))  # one shift for all of a task
        assert torch.equal(found.X[t, n:], found.X[t, :1].expand(6 - n, -1))  # padding is legal
        assert (found.Y[t, n:] == 0).all()
        shifts.append(float(moved[0]))
    spread = torch.tensor(shifts).std()
    assert 0.1 < float(spread) < 0.25  # a little less than 0.2: far copies were not shifted


def test_a_copy_keeps_three_observations_or_stays() -> None:
    found = Shifts(5.0, 1, seed=0).apply(batch())
    assert (found.counts >= torch.tensor([3, 3, 1]).repeat(len(found) // 3)).all()


def test_an_input_that_never_varies_is_not_shifted() -> None:
    tasks = batch()
    found = Shifts(0.2, 2, seed=0).apply(tasks)
    assert (found.X[..., 1] == 1).all()
    assert float(found.X[3:, 0, 0].std()) > 0


def test_the_seed_decides() -> None:
    first, second = (Shifts(0.2, 1, seed=1).apply(batch()) for _ in range(2))
    assert torch.equal(first.X, second.X)
    assert not torch.equal(first.X, Shifts(0.2, 1, seed=2).apply(batch()).X)


def test_only_few_short_tasks_are_worth_a_try() -> None:
    tasks = batch()
    assert may_help(tasks, 1)
    assert not may_help(tasks, 0)
    assert not may_help(tasks.select([0]), 1)
    assert not may_help(tasks.select([0, 1] * 100), 1)
    many = TaskBatch(torch.zeros(3, 2000, 1), torch.zeros(3, 2000), torch.full((3,), 2000))
    assert not may_help(many, 1)


def scores(family: FunctionFamily, num_tasks: int, **changes: float) -> tuple[float | None, float]:
    """Which shifts were chosen, and the negative log density of unseen tasks given five points."""
    settings = replace(MetaTrainSettings(), num_tasks=num_tasks, points_per_task=20, **changes)
    prior = meta_train(family, seed=0, settings=settings, device="cpu", progress=False)
    episodes = [
        grid_episode(task, noise_sd=0.05, seed=i)
        for i, task in enumerate(family.tasks(40, 10, seed=1000))
    ]
    rows = [row for e in episodes for row in few_shot("f", Metabo(prior), e, (5,), seed=0)]
    return prior.provenance["chosen"]["shifts"], sum(r["negative_log_density"] for r in rows) / 40


@pytest.mark.slow
def test_of_logistic_curves_they_show_where_others_may_rise() -> None:
    shifts, with_shifts = scores(LogisticFamily(), 16)
    assert shifts is not None
    none, without_shifts = scores(LogisticFamily(), 16, shift_sd=0.0)
    assert none is None
    assert with_shifts < without_shifts - 0.2


def waves(X: Tensor, height: Tensor) -> Tensor:
    """Waves that are all at one place."""
    return height * torch.sin(math.pi * X)


@pytest.mark.slow
def test_where_tasks_are_all_at_one_place_they_are_not_chosen() -> None:
    family = FunctionFamily(waves, {"height": (1, 10)}, (-4, 4), noise_sd=0.05)
    shifts, density = scores(family, 16)
    assert shifts is None
    assert density < -0.5


def test_all_tasks_may_carry_less_than_those_of_a_fold() -> None:
    # Eight tasks have 256 copies, sixteen for each component; ten have 250.
    smoke = MetaTrainSettings.smoke()
    settings = replace(smoke, num_tasks=10, heads=HeadSettings(num_components=(16,)))
    prior = meta_train(LogisticFamily(), settings=settings, device="cpu", progress=False)
    assert prior.provenance["chosen"]["num_components"] in (1, 16)
