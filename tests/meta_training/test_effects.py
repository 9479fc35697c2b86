"""Effects of single points, and whether a new task follows them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metabo.meta_training.effects import fit_effects, pooled
from metabo.meta_training.features import Features, complement, left_out
from metabo.meta_training.heads import Fold
from metabo.mixture import HeadPrior, Remainder
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

POINTS = 400


def tasks_on_a_grid(
    effect: float, *, number: int = 6, noise: float = 0.1, slopes: Tensor | None = None
) -> tuple[TaskBatch, Tensor]:
    """A line, single points' effects, and noise; and the effects."""
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-1.7, 1.7, POINTS).double()
    effects = effect * torch.randn(POINTS, generator=generator, dtype=torch.float64)
    spread = noise * torch.randn(number, POINTS, generator=generator, dtype=torch.float64)
    slopes = torch.ones(number).double() if slopes is None else slopes
    Y = x + slopes[:, None] * effects + spread
    X = x[:, None].expand(number, POINTS, 1)
    return TaskBatch(X, Y, torch.full((number,), POINTS)), effects


def folds(tasks: TaskBatch) -> tuple[list[Fold], Fold]:
    """Each task left out in turn, with a network that knows the line; and all tasks."""
    network = MLP(1, (4, 4), generator=torch.Generator().manual_seed(0)).double()
    network.requires_grad_(False)
    features = network.features(tasks.X[0])
    head = torch.linalg.lstsq(features, tasks.X[0]).solution.squeeze(-1)
    root = 0.1 * torch.eye(len(head)).double()
    prior = HeadPrior(torch.zeros(1).double(), head[None], root[None])
    remainder = Remainder(torch.tensor(0.01).double(), torch.ones(1).double(), torch.tensor(0.01))
    known = Features(network, prior, remainder)
    groups = left_out(len(tasks), torch.Generator().manual_seed(0))
    parts = [
        Fold(known, tasks.select(complement(g, len(tasks))), tasks.select(g), False) for g in groups
    ]
    return parts, Fold(known, tasks, tasks, False)


def test_shared_effects_are_found() -> None:
    tasks, effects = tasks_on_a_grid(0.3)
    found = fit_effects(*folds(tasks))
    assert found is not None
    best = slice(POINTS - 40, None)
    assert torch.equal(found.points.inputs.sort(0).values, tasks.X[0, best])
    error = found.points(tasks.X[0, best]) - effects[best]
    assert float(error.std()) < 0.1
    # Of a mean of five, all but the noise is seen in the sixth.
    assert found.mean == pytest.approx(0.3**2 / (0.3**2 + 0.1**2 / 5), abs=0.05)
    assert found.sd < 0.1
    assert not found.points(tasks.X[0, : POINTS - 60]).any()


def test_slopes_that_differ_from_task_to_task() -> None:
    slopes = torch.tensor([0.2, 0.5, 0.8, 1.2, 1.5, 1.8]).double()
    found = fit_effects(*folds(tasks_on_a_grid(0.3, slopes=slopes)[0]))
    assert found is not None
    assert 0.4 < found.sd < 1.0


def test_noise_has_no_effects() -> None:
    tasks, _ = tasks_on_a_grid(0.0, number=8)
    found = fit_effects(*folds(tasks))
    assert found is None or found.mean < 0.25


def test_points_of_one_task_only_are_not_known() -> None:
    tasks, _ = tasks_on_a_grid(0.3)
    own = torch.arange(6).double()[:, None, None] * 1e-3
    assert fit_effects(*folds(replace(tasks, X=tasks.X + own))) is None


def test_points_of_half_of_the_tasks_are_known() -> None:
    tasks, _ = tasks_on_a_grid(0.3)
    X = tasks.X.clone()
    X[:3, ::2] += 1e-3  # each other point is the same in three of the tasks, twice
    found = fit_effects(*folds(replace(tasks, X=X)))
    assert found is not None
    assert 55 < len(found.points.effects) < 65


def test_a_task_counts_once_however_often_it_was_measured() -> None:
    tasks, _ = tasks_on_a_grid(0.3)
    once = fit_effects(*folds(tasks))
    X, Y, number = tasks.X.repeat(1, 3, 1), tasks.Y.repeat(1, 3), len(tasks)
    counts = torch.tensor([3 * POINTS] + [POINTS] * (number - 1))
    mask = torch.arange(3 * POINTS) < counts[:, None]
    repeated = fit_effects(*folds(TaskBatch(X * mask.unsqueeze(-1), Y * mask, counts)))
    assert once is not None
    assert repeated is not None
    best = tasks.X[0, POINTS - 40 :]
    torch.testing.assert_close(repeated.points(best), once.points(best), atol=0.02, rtol=0)
    assert repeated.mean == pytest.approx(once.mean, abs=0.02)


def test_few_points_are_not_enough() -> None:
    tasks, _ = tasks_on_a_grid(0.3)
    few = TaskBatch(tasks.X[:, ::5], tasks.Y[:, ::5], torch.full((6,), 80))
    assert fit_effects(*folds(few)) is None


def test_a_single_task_tells_no_effects() -> None:
    tasks, _ = tasks_on_a_grid(0.3, number=1)
    assert fit_effects([], folds(tasks)[1]) is None


def test_pooled_estimates() -> None:
    """Of equal variances v, the spread is the sample variance less v, or nothing."""
    estimates = torch.tensor([1.0, 2.0, 3.0, 6.0]).double()
    mean, variance = pooled(estimates, torch.full((4,), 0.5).double())
    sample = float(estimates.var())
    assert mean == pytest.approx(3.0)
    assert variance == pytest.approx(sample - 0.5 + sample / 4)
    mean, variance = pooled(estimates, torch.tensor([100.0, 100.0, 100.0, 50.0]).double())
    assert mean == pytest.approx((1 + 2 + 3 + 2 * 6) / 5)
    assert variance == pytest.approx(100 / 5)
