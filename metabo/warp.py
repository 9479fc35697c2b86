r"""A monotone warp of outputs, for those that are skewed, heavy-tailed, or noisier where larger.

The sinh-arcsinh transform [Jones2009]_ of a standardised output,

.. math:: v = \sinh\big(\delta \operatorname{arsinh}((y - c) / s) - \gamma\big),

is linear for :math:`\delta = 1, \gamma = 0`. A skew :math:`\gamma` stretches one end and
compresses the other, a tail :math:`\delta < 1` compresses both like a power. So neither end grows
faster than linearly, and an output that is better than any seen before stays within reach.

.. [Jones2009] M. C. Jones, A. Pewsey. Sinh-arcsinh Distributions. Biometrika 96, 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", float, Tensor)
_LARGE = 1e9  # from here on what is asymptotic is exact, and squares might overflow


@dataclass(frozen=True)
class Warp:
    """A warp of outputs.

    Attributes:
        center: c, in the user's units.
        spread: s > 0, likewise.
        skew: gamma.
        tail: delta, 0 < delta <= 1.

    Raises:
        ValueError: If a number is not finite or out of its range.
    """

    center: float
    spread: float
    skew: float
    tail: float

    def __post_init__(self) -> None:
        numbers = (self.center, self.spread, self.skew, self.tail)
        if not all(map(math.isfinite, numbers)) or self.spread <= 0 or not 0 < self.tail <= 1:
            raise ValueError(f"{self} is no warp: spread must be positive, tail in (0, 1]")

    def __call__(self, y: Tensor) -> Tensor:
        """Warped outputs, of any shape."""
        return sinh_arcsinh((y - self.center) / self.spread, self.skew, self.tail)

    def inverse(self, v: Tensor) -> Tensor:
        """Outputs in the user's units."""
        return self.center + self.spread * ((v.asinh() + self.skew) / self.tail).sinh()

    def log_slope(self, y: Tensor) -> Tensor:
        """The logarithm of dv / dy at outputs of any shape."""
        return log_slope((y - self.center) / self.spread, self.skew, self.tail) - math.log(
            self.spread
        )

    def negated(self) -> Warp:
        """That of the negative output, which gives the negative warped output."""
        return Warp(-self.center, self.spread, -self.skew, self.tail)


def sinh_arcsinh(z: Tensor, skew: Number, tail: Number) -> Tensor:
    """The transform of standardised outputs."""
    return (tail * _asinh(z) - skew).sinh()


def log_slope(z: Tensor, skew: Number, tail: Number) -> Tensor:
    """The logarithm of its derivative."""
    inner = (tail * _asinh(z) - skew).abs()
    log_cosh = inner + torch.nn.functional.softplus(-2 * inner) - math.log(2)
    near = 0.5 * z.clamp(-_LARGE, _LARGE).square().log1p()
    log_root = torch.where(z.abs() < _LARGE, near, z.abs().clamp_min(1.0).log())
    return torch.log(torch.as_tensor(tail).to(z)) + log_cosh - log_root


def _asinh(z: Tensor) -> Tensor:
    far = z.sign() * (2 * z.abs().clamp_min(1.0)).log()
    return torch.where(z.abs() < _LARGE, z.clamp(-_LARGE, _LARGE).asinh(), far)
