"""The units that tasks are modelled in."""

import pytest
import torch

from metabo.meta_training.units import Units
from metabo.tasks.task import TaskBatch
from metabo.warp import Warp

WARP = Warp(center=1.0, spread=2.0, skew=0.7, tail=0.5)


def test_every_task_counts_the_same() -> None:
    Y = torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, 0, 0, 0]]).double()
    raw = TaskBatch(torch.zeros(2, 4, 1).double(), Y, torch.tensor([4, 1]))
    assert Units.of(raw, None) == Units(3.0, 2.0, None)
    constant = TaskBatch(torch.zeros(2, 4, 1), torch.full((2, 4), 1e-9), torch.tensor([4, 4]))
    assert Units.of(constant, None) == Units(pytest.approx(1e-9), 1.0, None)


@pytest.mark.parametrize("warp", [None, WARP])
def test_units_and_their_slope(warp: Warp | None) -> None:
    generator = torch.Generator().manual_seed(0)
    Y = torch.randn(3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    raw = TaskBatch(torch.zeros(3, 5, 1).double(), Y, torch.tensor([5, 3, 1]))
    units = Units.of(TaskBatch(raw.X, Y.detach(), raw.counts), warp)
    tasks = units.tasks(raw.X, raw)
    u = (Y if warp is None else warp(Y)) - units.offset
    torch.testing.assert_close(tasks.Y, u / units.scale * raw.mask)
    (slopes,) = torch.autograd.grad(tasks.Y.sum(), Y)
    expected = torch.where(raw.mask, slopes, 1.0).log().sum(-1)
    torch.testing.assert_close(units.log_slopes(tasks).detach(), expected)
