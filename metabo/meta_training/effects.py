r"""The effects of single points, where earlier tasks were measured at the same ones.

The mean shape of all tasks at a point, less the line of best fit on the family's mean function, is
the point's effect. How much of it a new task will show is seen on left-out tasks: the slope of
their outputs against the effects that the others tell, each with its standard error. The slopes are
pooled as in a random-effects meta-analysis [DerSimonian1986]_: a new task's is Gaussian, with the
mean and the spread that slopes have from task to task.

Only the points that are best by the mean function have effects. It is there that a search chooses
among points that look the same; and of bad points outputs vary so much more that they would decide.

.. [DerSimonian1986] R. DerSimonian, N. Laird. Meta-analysis in clinical trials. Controlled Clinical
   Trials 7, 1986.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.known_points import KnownPoints, point_keys
from metabo.meta_training.heads import Fold

_BEST = 0.1  # of all points have effects
_FEWEST = 10  # points, for a slope
_TASKS = 64  # left-out ones, at most
_DIGITS = 8  # of keys, of which points are the same


@dataclass(frozen=True, eq=False)
class Effects:
    """The effects, and the slope of a new task against them.

    Attributes:
        points: The effects.
        mean: Of the slope: between 0 and 1.
        sd: Of the slope.
    """

    points: KnownPoints
    mean: float
    sd: float

    def summary(self) -> dict[str, float]:
        """In numbers, JSON-able."""
        return {"points": len(self.points.effects), "mean": self.mean, "sd": self.sd}


def fit_effects(folds: Sequence[Fold], final: Fold) -> Effects | None:
    """The effects that all tasks tell, or None where left-out tasks do not follow them.

    Args:
        folds: Each with some tasks left out.
        final: All tasks.
    """
    found = torch.tensor([slope for fold in folds for slope in _slopes(fold)], dtype=torch.float64)
    points = _effects(final)
    if len(found) < 2 or points is None:
        return None
    mean, variance = pooled(*found.T)
    return Effects(points, min(mean, 1.0), variance**0.5) if mean > 0 else None


def _effects(fold: Fold) -> KnownPoints | None:
    """Of the best points at which at least half of the training tasks were measured."""
    tasks = fold.shapes
    inputs, outputs = tasks.X[tasks.mask], tasks.Y[tasks.mask]
    keys, place = point_keys(inputs).round(decimals=_DIGITS).unique(return_inverse=True)
    task = tasks.mask.nonzero()[:, 0]
    # A task may have measured a point several times, but has one shape there.
    pair, own = (task * len(keys) + place).unique(return_inverse=True)
    shape, point = _means(outputs, own, len(pair)), pair % len(keys)
    shared = point.bincount(minlength=len(keys)) >= max(len(tasks) / 2, 1)
    if int(_BEST * shared.sum()) < _FEWEST:
        return None
    mean = _means(shape, point, len(keys))[shared]
    inputs = _means(inputs, place, len(keys))[shared]
    trend = _trend(fold, inputs)
    effects = mean - _line(trend, mean)
    best = trend >= trend.quantile(1 - _BEST)
    return KnownPoints(inputs[best], effects[best])


def _means(values: Tensor, group: Tensor, count: int) -> Tensor:
    """The mean of the values, `M` or `M x e`, of each group."""
    sums = values.new_zeros(count, *values.shape[1:]).index_add(0, group, values)
    sizes = group.bincount(minlength=count).to(values)
    return sums / sizes.reshape(-1, *[1] * (values.dim() - 1))


def _slopes(fold: Fold) -> Iterator[tuple[float, float]]:
    """Of each left-out task: the slope, and its squared standard error."""
    points = _effects(fold)
    if points is None:
        return
    tasks = fold.held_out_shapes.select(slice(0, _TASKS))
    for X, Y, mask in zip(tasks.X, tasks.Y, tasks.mask, strict=True):
        found, row = points.find(X)
        found &= mask
        effects = points.effects[row[found]]
        if len(effects) < _FEWEST or float(effects.std()) == 0:
            continue
        trend = _trend(fold, X[found])
        # What is linear in the mean function is left out of both.
        effects = effects - _line(trend, effects)
        left = Y[found] - _line(trend, Y[found])
        square = effects.square().sum()
        slope = (effects * left).sum() / square
        error = (left - slope * effects).square().sum() / (len(left) - 3)
        yield float(slope), float(error / square)


def _trend(fold: Fold, inputs: Tensor) -> Tensor:
    return fold.features.network.features(inputs) @ fold.trend


def _line(x: Tensor, y: Tensor) -> Tensor:
    """The values of the least-squares line of y against x."""
    columns = torch.stack([torch.ones_like(x), x], -1)
    return columns @ torch.linalg.lstsq(columns, y.unsqueeze(-1)).solution.squeeze(-1)


def pooled(estimates: Tensor, variances: Tensor) -> tuple[float, float]:
    """The mean of what `k > 1` noisy estimates are of, and the variance of one more of its kind."""
    weights = 1 / variances.clamp_min(1e-12)
    common = (weights * estimates).sum() / weights.sum()
    excess = (weights * (estimates - common).square()).sum() - (len(estimates) - 1)
    spread = (excess / (weights.sum() - weights.square().sum() / weights.sum())).clamp_min(0.0)
    weights = 1 / (variances + spread).clamp_min(1e-12)
    mean = (weights * estimates).sum() / weights.sum()
    return float(mean), float(spread + 1 / weights.sum())
