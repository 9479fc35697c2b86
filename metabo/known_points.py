"""Points that earlier tasks were measured at, and what these gave there beyond a mean function."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

# Encoded inputs are of order one. In single precision they are off by this much where numbers are
# a hundred times as large as their range is wide.
_SAME = 3e-5


@dataclass(frozen=True, eq=False)
class KnownPoints:
    """The effects of single points.

    A mean function is smooth. Where several tasks were measured at the same points, they also tell
    of one point that it is better than its neighbours.

    Attributes:
        inputs: `K x e`, the encoded points, all different.
        effects: `K`, in the units of the tasks' shapes.
    """

    inputs: Tensor
    effects: Tensor
    _sorted: dict[tuple[torch.dtype, torch.device], _Sorted] = field(
        default_factory=dict, init=False, repr=False
    )

    def __call__(self, inputs: Tensor) -> Tensor:
        """The effects, `...`, of encoded points `... x e`; zero of points that are not known."""
        found, row = self.find(inputs)
        return torch.where(found, self.effects.to(inputs)[row], 0.0)

    def find(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Whether points `... x e` are known, `...` (bool), and if so in which row, `...`."""
        inputs = inputs.detach()
        kind = (inputs.dtype, inputs.device)
        if kind not in self._sorted:  # cached: every step of an acquisition optimiser looks up
            self._sorted[kind] = _Sorted.of(self.inputs.to(inputs))
        return self._sorted[kind].find(inputs)

    def to(self, device: torch.device | str) -> Self:
        """A copy on another device."""
        return type(self)(self.inputs.to(device), self.effects.to(device))


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Points in the order of their keys.

    Attributes:
        inputs: `K x e`, the points.
        keys: `K`, sorted.
        order: `K`, the point of each key.
        slack: How far the keys of points that are the same may be apart.
        most: Of so many points, at most, can the keys be as near as that to one key.
    """

    inputs: Tensor
    keys: Tensor
    order: Tensor
    slack: float
    most: int

    @classmethod
    def of(cls, inputs: Tensor) -> Self:
        keys, order = point_keys(inputs).sort()
        slack = _SAME * float(_weights(inputs).abs().sum())
        ends = torch.searchsorted(keys, keys + 2 * slack, right=True)
        most = int((ends - torch.arange(len(keys), device=keys.device)).max())
        return cls(inputs, keys, order, slack, most)

    def find(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        first = torch.searchsorted(self.keys, (point_keys(inputs) - self.slack).contiguous())
        row, apart = self._at(first, inputs)
        for step in range(1, self.most):
            other, distance = self._at(first + step, inputs)
            row = torch.where(distance < apart, other, row)
            apart = torch.minimum(distance, apart)
        return apart < _SAME, row

    def _at(self, place: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The point at a place of the order, and how far others are from it."""
        row = self.order[place.clamp_max(len(self.order) - 1)]
        return row, (self.inputs[row] - inputs).abs().amax(-1)


def point_keys(inputs: Tensor) -> Tensor:
    """Numbers, `...` (double), by which encoded points `... x e` are sorted."""
    return inputs.double() @ _weights(inputs)


def _weights(inputs: Tensor) -> Tensor:
    # By a sum of these, few points of a grid have nearly the same key.
    return torch.arange(2, inputs.shape[-1] + 2, device=inputs.device).double().sqrt().cos()
