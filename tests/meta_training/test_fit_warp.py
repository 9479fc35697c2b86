"""Which tables get a warp."""

from collections.abc import Callable

import torch
from torch import Tensor

from metabo.meta_training.fit_warp import fit_warp
from metabo.tasks.task import TaskBatch


def smooth_tasks(num_tasks: int = 12, points: int = 20, noise: float = 0.1) -> TaskBatch:
    generator = torch.Generator().manual_seed(0)
    X = 2 * torch.rand(num_tasks, points, 1, generator=generator, dtype=torch.float64) - 1
    phase = 3 * torch.rand(num_tasks, 1, generator=generator, dtype=torch.float64)
    spread = noise * torch.randn(num_tasks, points, generator=generator, dtype=torch.float64)
    Y = (2 * X[..., 0] + phase).sin() + spread
    return TaskBatch(X, Y, torch.full((num_tasks,), points))


def warped(function: Callable[[Tensor], Tensor], tasks: TaskBatch) -> TaskBatch:
    return TaskBatch(tasks.X, function(tasks.Y), tasks.counts)


def test_gaussian_outputs_stay_as_they_are() -> None:
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(20, 10, 1, generator=generator, dtype=torch.float64)
    Y = torch.randn(20, 10, generator=generator, dtype=torch.float64)
    tasks = TaskBatch(X, Y, torch.full((20,), 10))
    assert fit_warp(tasks.X, tasks, seed=0) is None


def test_exponentials_are_made_even() -> None:
    """Multiplicative noise: after the warp, the noise is about the same at both ends."""
    factor = 1e6
    tasks = warped(lambda Y: factor * (2.5 * Y).exp(), smooth_tasks())
    warp = fit_warp(tasks.X, tasks, seed=0)
    assert warp == fit_warp(tasks.X, tasks, seed=0)  # the seed decides
    assert warp is not None
    small, large = factor * torch.tensor([0.2, 10.0], dtype=torch.float64)
    # dv / d log y at a small and a large output differ by far less than dv / dy does, which is 50.
    ratio = (warp.log_slope(small) - warp.log_slope(large)).exp() * small / large
    assert 0.3 < float(ratio) < 3


def test_outputs_over_many_orders_of_magnitude() -> None:
    tasks = warped(lambda Y: -(6 * Y).exp(), smooth_tasks())
    warp = fit_warp(tasks.X, tasks, seed=0)
    assert warp is not None
    assert warp.tail < 0.7
    v = warp(tasks.Y)
    assert float(((v - v.mean()) / v.std()).abs().max()) < 6
    assert float(((tasks.Y - tasks.Y.mean()) / tasks.Y.std()).abs().max()) > 6


def test_constant_and_few_outputs() -> None:
    tasks = smooth_tasks()
    constant = TaskBatch(tasks.X, torch.full_like(tasks.Y, 2.5), tasks.counts)
    assert fit_warp(constant.X, constant, seed=0) is None
    few = warped(lambda Y: (2.5 * Y).exp(), smooth_tasks(4, 20))
    assert fit_warp(few.X, few, seed=0) is None
