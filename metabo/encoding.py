r"""From points in the user's units to the inputs of a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Encoding:
    r"""A differentiable map of points (`... x d`) to network inputs (`... x e`).

    Numbers (after a logarithm where the scale is one) go linearly to :math:`[-\sqrt 3, \sqrt 3]`,
    so that a uniform draw has mean 0 and variance 1. One of C categories becomes a centred one-hot
    vector times :math:`\sqrt{C / (C - 1)}`: a uniform draw again has mean 0 and total variance 1,
    so two random values of a categorical input are on average as far apart as two random values of
    a numeric one. What never varies becomes 0.

    Attributes:
        numeric: The columns of X that are numbers, m.
        log: Which of these are on a log scale, m.
        centre: What becomes 0, m.
        factor: What numbers are multiplied with after centring, m.
        column: The column of X behind each one-hot column, h.
        category: The category that each one-hot column stands for, h.
        share: 1 / C, h.
        spread: What centred one-hot columns are multiplied with, h.
    """

    numeric: Tensor
    log: Tensor
    centre: Tensor
    factor: Tensor
    column: Tensor
    category: Tensor
    share: Tensor
    spread: Tensor

    @classmethod
    def of(cls, bounds: Tensor, log: Tensor, categorical: Sequence[int]) -> Self:
        """Build the map.

        Args:
            bounds: `2 x d`, float64; of a category 0 and C - 1.
            log: Which columns are on a log scale, d.
            categorical: The columns that hold categories.
        """
        numeric = torch.tensor([i for i in range(len(log)) if i not in categorical]).long()
        low, high = log_where(log, bounds)[:, numeric]
        half = (high - low) / 2
        factor = torch.where(half > 0, math.sqrt(3) / half, 0.0)
        counts = {i: int(bounds[1, i]) + 1 for i in categorical}
        blocks = [(i, category, count) for i, count in counts.items() for category in range(count)]
        column, category, count = torch.tensor(blocks).long().reshape(-1, 3).T
        count = count.double()
        spread = torch.where(count > 1, (count / (count - 1)).sqrt(), 0.0)
        centre = (low + high) / 2
        return cls(numeric, log[numeric], centre, factor, column, category, 1 / count, spread)

    def to(self, dtype: torch.dtype, device: torch.device) -> Self:
        """The same map for points of another dtype or on another device."""
        tensors = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        for name in ("centre", "factor", "category", "share", "spread"):
            tensors[name] = tensors[name].to(dtype)
        return type(self)(**tensors)

    def __len__(self) -> int:
        return len(self.numeric) + len(self.column)

    def __call__(self, X: Tensor) -> Tensor:
        """Map points (`... x d`), of which a category that is not whole counts as the nearest."""
        Z = (log_where(self.log, X[..., self.numeric]) - self.centre) * self.factor
        if len(self.column) == 0:
            return Z
        hit = X[..., self.column].round() == self.category
        return torch.cat([Z, (hit.to(Z) - self.share) * self.spread], dim=-1)

    def inverse(self, Z: Tensor) -> Tensor:
        """The points (`... x d`) that are mapped to network inputs (`... x e`).

        Numbers are rounded to twelve digits: 0.1 comes back as 0.1.
        """
        count = len(self.numeric)
        numbers = Z[..., :count] / torch.where(self.factor > 0, self.factor, 1.0) + self.centre
        columns = self.column.unique().tolist()
        X = Z.new_zeros(*Z.shape[:-1], count + len(columns))
        X[..., self.numeric] = _rounded(exp_where(self.log, numbers))
        for column in columns:
            block = Z[..., count:][..., self.column == column]
            X[..., column] = block.argmax(-1).to(X)
        return X


def _rounded(X: Tensor) -> Tensor:
    unit = 10.0 ** (11 - X.abs().clamp_min(1e-200).log10().floor())
    return torch.where(X == 0, 0.0, (X * unit).round() / unit)


def log_where(log: Tensor, X: Tensor) -> Tensor:
    """Take the logarithm of some columns.

    The inner `where` keeps the infinite gradient of log(0) away from the other columns.
    """
    return torch.where(log, torch.where(log, X, 1.0).log(), X)


def exp_where(log: Tensor, Z: Tensor) -> Tensor:
    """Undo `log_where`."""
    return torch.where(log, torch.where(log, Z, 0.0).exp(), Z)
