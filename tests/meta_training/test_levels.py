"""Offsets and scales of tasks, taken out and integrated over."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metabo.meta_training.levels import Levels, task_levels, without_levels
from metabo.mixture import condition
from metabo.prior import Prior
from metabo.tasks.task import TaskBatch


def batch(Y: Tensor, counts: list[int]) -> TaskBatch:
    count = torch.tensor(counts)
    mask = torch.arange(Y.shape[1]) < count[:, None]
    return TaskBatch(torch.zeros(*Y.shape, 1).double(), Y * mask, count)


def affine_tasks(num_tasks: int, points: int) -> tuple[TaskBatch, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    offsets = 2 + 3 * torch.randn(num_tasks, generator=generator).double()
    scales = (0.5 * torch.randn(num_tasks, generator=generator).double() - 1).exp()
    shapes = torch.randn(num_tasks, points, generator=generator).double()
    Y = offsets[:, None] + scales[:, None] * shapes
    return batch(Y, [points] * num_tasks), offsets, scales


def test_levels_of_long_tasks_are_found() -> None:
    tasks, offsets, scales = affine_tasks(8, 4000)
    found_offsets, found_scales = task_levels(tasks)
    torch.testing.assert_close(found_offsets, offsets, rtol=0, atol=0.1)
    torch.testing.assert_close(found_scales, scales, rtol=0.05, atol=0)


def test_padding_does_not_count() -> None:
    tasks, _, _ = affine_tasks(3, 9)
    short = TaskBatch(tasks.X[:, :4], tasks.Y[:, :4], torch.full((3,), 4))
    padded = batch(tasks.Y, [4, 4, 4])
    for found, expected in zip(task_levels(padded), task_levels(short), strict=True):
        torch.testing.assert_close(found, expected)
    shapes = without_levels(padded)
    torch.testing.assert_close(shapes.Y[:, :4], without_levels(short).Y)
    assert not shapes.Y[:, 4:].any()


def test_short_tasks_are_pulled_to_the_pooled_scale() -> None:
    Y = torch.tensor([[5.0, 5.0, 0, 0], [1.0, -1.0, 1.0, -1.0]]).double()
    _, scales = task_levels(batch(Y, [1, 4]))
    assert 0 < float(scales[0]) < float(scales[1])


def test_constant_outputs_stay_finite() -> None:
    tasks = batch(torch.full((3, 5), 7.0).double(), [5, 2, 1])
    assert without_levels(tasks).Y.isfinite().all()
    levels = Levels.of(tasks)
    assert levels.scales.isfinite().all()
    assert bool((levels.scales > 0).all())


def test_nodes_have_the_moments_of_the_scales() -> None:
    tasks, offsets, scales = affine_tasks(200, 1000)
    levels = Levels.of(tasks)
    weights = levels.log_weights.exp()
    assert weights.sum().item() == pytest.approx(1)
    mean = (weights * levels.scales.log()).sum()
    variance = (weights * (levels.scales.log() - mean).square()).sum()
    torch.testing.assert_close(mean, scales.log().mean(), rtol=0, atol=0.02)
    expected = (scales.log().var(correction=0) + 0.5 / 200) * (1 + 1 / 200)
    torch.testing.assert_close(variance, expected, rtol=0.02, atol=0)
    torch.testing.assert_close(levels.offset_mean, offsets.mean(), rtol=0, atol=0.02)
    assert float(levels.offset_variance) == pytest.approx(float(offsets.var()), rel=0.05)


def test_one_task_tells_little_of_the_next_ones_level() -> None:
    for count, least in ((1, 1.0), (2, 0.375), (7, 0.08)):
        levels = Levels.of(batch(torch.randn(count, 50).double(), [50] * count))
        assert float(levels.offset_variance) > 2 * least - 0.01
        spread = (levels.log_weights.exp() * levels.scales.log().square()).sum().sqrt()
        assert float(spread) > 0.65 * least**0.5


def test_the_mixture_is_that_of_an_affine_map(make_prior: Callable[..., Prior]) -> None:
    """Moments of `a + b u` over u, a and b, against sums over the nodes by hand."""
    prior = make_prior(num_components=2)
    levels = Levels.of(affine_tasks(20, 30)[0])
    features, inputs = prior.encode(prior.space.sample(4, seed=0))
    shape, wide = prior.mixture, levels.apply(prior.mixture)
    assert wide.num_components == 14
    assert wide.log_weights.exp().sum().item() == pytest.approx(1)
    mean, covariance = (
        shape.mean(features),
        shape.covariance((features, inputs), (features, inputs)),
    )
    ours = wide.mean(features), wide.covariance((features, inputs), (features, inputs))
    for j, scale in enumerate(levels.scales):
        for k in range(2):
            expected = levels.offset_mean + scale * mean[k]
            torch.testing.assert_close(ours[0][2 * j + k], expected)
            expected = scale**2 * covariance[k] + levels.offset_variance
            torch.testing.assert_close(ours[1][2 * j + k], expected)
            weight = levels.log_weights[j] + shape.log_weights[k]
            torch.testing.assert_close(wide.log_weights[2 * j + k], weight)
            torch.testing.assert_close(wide.noises[2 * j + k], scale**2 * shape.noises[k])


def test_a_task_that_is_only_shifted_and_scaled_stays_in_the_family(
    make_prior: Callable[..., Prior],
) -> None:
    prior = make_prior(num_components=2)
    generator = torch.Generator().manual_seed(0)
    features, inputs = prior.encode(prior.space.sample(12, seed=0))
    root = prior.mixture.roots[0] @ torch.randn(3, generator=generator).double()
    shape = features @ (prior.mixture.means[0] + root)
    wide = Levels.of(affine_tasks(20, 30)[0]).apply(prior.mixture)
    far = 4.0 + 0.3 * shape
    plain = condition(prior.mixture, features, inputs, far).log_evidence
    assert condition(wide, features, inputs, far).log_evidence > plain + 5
