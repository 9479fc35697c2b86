r"""Offset and scale of each task's outputs, where tasks differ by more than their shape.

Earlier runs in tables often agree up to an affine map of Y: the same settings are good, but on
another data set the accuracy is lower and spreads more. Then a task is :math:`y = a + b\,u(x)`, the
mixture is learned for u, and on a new task a is Gaussian and b log-normal; b is integrated over on
Gauss-Hermite nodes, each of which is one more component for every component of u.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from metabo.mixture import Mixture
from metabo.tasks.task import TaskBatch

_NODES = 7
_SPREAD_OF_LOG_SCALES = 0.5  # their variance, as long as there are no tasks to tell
_PSEUDO_OBSERVATIONS = 3.0  # pull a short task's scale to the pooled one


@dataclass(frozen=True, eq=False)
class Levels:
    """The distribution of the offsets and scales of a family's tasks, in model units.

    Attributes:
        offset_mean: 0-d.
        offset_variance: 0-d.
        scales: `J`, the nodes of the scale ...
        log_weights: `J`, ... and the logarithm of their probabilities.
    """

    offset_mean: Tensor
    offset_variance: Tensor
    scales: Tensor
    log_weights: Tensor

    @classmethod
    def of(cls, tasks: TaskBatch) -> Levels:
        """Estimate from training tasks."""
        offsets, scales = task_levels(tasks)
        spread = _predictive_variance(scales.log(), _SPREAD_OF_LOG_SCALES).sqrt()
        points, masses = np.polynomial.hermite_e.hermegauss(_NODES)
        nodes, weights = torch.as_tensor(points).to(offsets), torch.as_tensor(masses).to(offsets)
        return cls(
            offset_mean=offsets.mean(),
            offset_variance=_predictive_variance(offsets, 1.0),
            scales=(scales.log().mean() + spread * nodes).exp(),
            log_weights=(weights / weights.sum()).log(),
        )

    def apply(self, mixture: Mixture) -> Mixture:
        """A mixture for u, turned into one for y = a + b u."""
        scale = self.scales[:, None]  # J x 1, against C components

        def outer(values: Tensor, factor: Tensor) -> Tensor:
            factor = factor.reshape(-1, *[1] * values.dim())
            return (factor * values).flatten(0, 1)

        means = outer(mixture.means, self.scales)
        means[:, -1] += self.offset_mean
        roots = outer(mixture.roots, self.scales)
        offset_column = torch.zeros_like(roots[..., :1])
        offset_column[:, -1] = self.offset_variance.sqrt()
        every = torch.arange(mixture.num_components, device=means.device)
        return replace(
            mixture.select(every.repeat(len(self.scales))),
            log_weights=(self.log_weights[:, None] + mixture.log_weights).flatten(),
            means=means,
            roots=torch.cat([roots, offset_column], -1),
            outputscales=(scale.square() * mixture.outputscales).flatten(),
            noises=(scale.square() * mixture.noises).flatten(),
        )


def _predictive_variance(values: Tensor, expected: float) -> Tensor:
    """Of a further value, of which one more is thought to deviate by what is expected, squared."""
    count = len(values)
    squares = (values - values.mean()).square().sum()
    return (squares + expected) / count * (1 + 1 / count)


def task_levels(tasks: TaskBatch) -> tuple[Tensor, Tensor]:
    """The offset and the scale of each task, `T` each."""
    mask, count = tasks.mask, tasks.counts.to(tasks.Y)
    offsets = tasks.Y.sum(-1) / count
    squares = ((tasks.Y - offsets[:, None]).square() * mask).sum(-1)
    pooled = (squares.sum() / count.sum()).clamp_min(1e-12)
    scales = ((squares + _PSEUDO_OBSERVATIONS * pooled) / (count + _PSEUDO_OBSERVATIONS)).sqrt()
    return offsets, scales


def without_levels(tasks: TaskBatch) -> TaskBatch:
    """The tasks' shapes, u = (y - a) / b."""
    offsets, scales = task_levels(tasks)
    Y = (tasks.Y - offsets[:, None]) / scales[:, None]
    return TaskBatch(tasks.X, Y * tasks.mask, tasks.counts)
