"""The units that tasks are modelled in: outputs warped, if need be, and scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from metabo.tasks.task import TaskBatch
from metabo.warp import Warp


@dataclass(frozen=True)
class Units:
    """From outputs y in the user's units to u = (warped y - offset) / scale.

    Attributes:
        offset: The mean of all (warped) observations, each task counting the same ...
        scale: ... and their standard deviation.
        warp: None where outputs are not warped.
    """

    offset: float
    scale: float
    warp: Warp | None

    @classmethod
    def of(cls, raw: TaskBatch, warp: Warp | None) -> Self:
        """Those in which training tasks, in the user's units, have mean 0 and variance 1."""
        warped = raw.Y if warp is None else warp(raw.Y)
        weights = raw.mask / raw.counts[:, None] / len(raw)
        mean = float((weights * warped).sum())
        deviation = float((weights * (warped - mean).square()).sum().sqrt())
        constant = deviation <= 1e-12 * max(abs(mean), 1e-300)
        return cls(mean, 1.0 if constant else deviation, warp)

    def tasks(self, inputs: Tensor, raw: TaskBatch) -> TaskBatch:
        """The tasks with encoded inputs, `T x n x e`, and Y in model units."""
        warped = raw.Y if self.warp is None else self.warp(raw.Y)
        return TaskBatch(inputs, (warped - self.offset) / self.scale * raw.mask, raw.counts)

    def log_slopes(self, tasks: TaskBatch) -> Tensor:
        """The log determinant `T` of du / dy, for the observations of tasks in model units."""
        slopes = torch.full_like(tasks.Y, -math.log(self.scale))
        if self.warp is not None:
            outputs = self.warp.inverse(self.offset + self.scale * tasks.Y)
            slopes = slopes + self.warp.log_slope(outputs)
        return (slopes * tasks.mask).sum(-1)
