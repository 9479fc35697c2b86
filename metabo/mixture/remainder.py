"""What the features leave over on one task: a Gaussian-process remainder, and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metabo.adam import Adam
from metabo.mixture.components import amplitude, matern52

# Of the weak prior on log variance, log length scales, log noise and log head scale ...
_SPREADS = (3.0, 3.0, 3.0, 3.0)
# ... and on the slope and the log length scale of the trend.
_TREND_SPREADS = (0.5, 3.0)


@dataclass(frozen=True, eq=False)
class Trend:
    """How the remainder depends on the family's mean function.

    Attributes:
        slope: 0-d, how fast the logarithm of its standard deviation grows with it.
        lengthscale: 0-d, of the mean function as one more input of the kernel.
    """

    slope: Tensor
    lengthscale: Tensor


@dataclass(frozen=True, eq=False)
class Remainder:
    """The kernel of the remainder, and the noise.

    Attributes:
        outputscale: 0-d, the variance where the family's mean function is zero.
        lengthscales: `e`.
        noise: 0-d, its variance.
        trend: What the remainder owes to the family's mean function; None for nothing.
    """

    outputscale: Tensor
    lengthscales: Tensor
    noise: Tensor
    trend: Trend | None = None

    def covariance(self, inputs: Tensor, trend: Tensor | None = None) -> Tensor:
        """That of the remainder, without the noise: `... x n x n`.

        Args:
            inputs: `... x n x e`.
            trend: `... x n`, the family's mean function there; not used without a trend.
        """
        if self.trend is None:
            return self.outputscale * matern52(inputs, inputs, self.lengthscales)
        assert trend is not None
        seen = torch.cat([inputs, trend.unsqueeze(-1)], -1)
        lengthscales = torch.cat([self.lengthscales, self.trend.lengthscale[None]])
        covariance = self.outputscale * matern52(seen, seen, lengthscales)
        size = amplitude(self.trend.slope * trend)
        return covariance * size.unsqueeze(-1) * size.unsqueeze(-2)


@dataclass(frozen=True, eq=False)
class HeadTasks:
    """Tasks, and one Gaussian prior over their heads.

    Attributes:
        features: `T x n x p`.
        inputs: `T x n x e`, encoded.
        targets: `T x n`, in model units.
        mask: `T x n` (bool), false where a row is padding.
        mean: `p`, the mean head.
        root: `p x r`, a root of the head covariance.
        trend: `p`, the head of the family's mean function, if the remainder depends on it.
    """

    features: Tensor
    inputs: Tensor
    targets: Tensor
    mask: Tensor
    mean: Tensor
    root: Tensor
    trend: Tensor | None = None


def log_likelihood(
    tasks: HeadTasks, remainder: Remainder, head_scale: Tensor | float = 1.0
) -> Tensor:
    """The log marginal likelihood `T` of whole tasks under one Gaussian head and a remainder.

    Args:
        tasks: Padded tasks and the head prior.
        remainder: The kernel and noise.
        head_scale: Multiplies the root.
    """
    head = tasks.features @ tasks.root * head_scale
    trend = None if tasks.trend is None else tasks.features @ tasks.trend
    covariance = head @ head.mT + remainder.covariance(tasks.inputs, trend)
    deviation = tasks.targets - tasks.features @ tasks.mean
    density: Tensor = _LogDensity.apply(
        deviation * tasks.mask, _padded(covariance, remainder.noise, tasks.mask)
    )
    return density - 0.5 * math.log(2 * math.pi) * tasks.mask.sum(-1).to(density)


class _LogDensity(torch.autograd.Function):
    r"""The log density, up to a constant, of `T x n` Gaussian deviations.

    Its gradients are known, with :math:`\alpha = K^{-1} y`: :math:`-\alpha` and
    :math:`(\alpha\alpha^\top - K^{-1}) / 2`. Differentiating the factorisation takes twice as long.
    """

    @staticmethod
    def forward(ctx: Any, deviation: Tensor, covariance: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(covariance)
        inverse = torch.cholesky_inverse(factor)
        solved = (inverse @ deviation.unsqueeze(-1)).squeeze(-1)
        ctx.save_for_backward(inverse, solved)
        log_root = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (solved * deviation).sum(-1) - log_root

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        inverse, solved = ctx.saved_tensors
        column = solved.unsqueeze(-1)
        by_covariance = torch.baddbmm(inverse, column, column.mT, beta=-0.5, alpha=0.5)
        return -slope[:, None] * solved, slope[:, None, None] * by_covariance


def whiten(
    columns: Tensor, covariance: Tensor, noise: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """What makes the observations of padded tasks independent, of variance one.

    Args:
        columns: `T x n x c`, functions of the n observations.
        covariance: `T x n x n`, of the observations without their noise.
        noise: 0-d or `T x n`, its variance.
        mask: `T x n` (bool), false where a row is padding.

    Returns:
        `L^-1 columns` for the Cholesky factor L of the covariance with noise, padded rows zero; and
        `T`, its log determinant with the normalising constant.
    """
    factor = torch.linalg.cholesky(_padded(covariance, noise, mask))
    white = torch.linalg.solve_triangular(factor, columns * mask.unsqueeze(-1), upper=False)
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return white, log_determinant + mask.sum(-1).to(white) * math.log(2 * math.pi)


def _padded(covariance: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
    """That of noisy observations; padded rows are independent zeros of variance one."""
    both = mask.unsqueeze(-1) & mask.unsqueeze(-2)
    diagonal = torch.where(mask, noise, 1.0)
    return torch.where(both, covariance, 0.0) + torch.diag_embed(diagonal)


def fit_remainder(
    folds: list[HeadTasks], start: Remainder, *, steps: int = 80, step_size: float = 0.08
) -> tuple[Remainder, float]:
    """The remainder, and the factor on the head's root, under which left-out tasks are most likely.

    Fitted to tasks whose head prior comes from *other* tasks: fitted to the same tasks, the
    remainder would vanish and every interval be too narrow. A trend is fitted if the start has one.

    Args:
        folds: Held-out tasks, each group with the head prior of the rest.
        start: Where Adam starts.
        steps: Adam steps.
        step_size: Of Adam, on logarithms.
    """
    origin = [*(v.log() for v in (start.outputscale, start.lengthscales, start.noise))]
    origin.append(torch.zeros_like(start.noise))
    spreads = [*_SPREADS]
    if start.trend is not None:
        origin += [start.trend.slope, start.trend.lengthscale.log()]
        spreads += _TREND_SPREADS
    parameters = [value.clone().requires_grad_() for value in origin]
    optimizer = Adam([(parameters, step_size)])
    count = sum(int(fold.mask.sum()) for fold in folds)
    for _ in range(steps):
        current, head = _remainder(parameters), parameters[3]
        # A weak pull to the start keeps what the data do not see (an idle input's length) finite.
        pull = sum(
            ((p - p0) / spread).square().sum()
            for p, p0, spread in zip(parameters, origin, spreads, strict=True)
        )
        likelihood = torch.stack(
            [log_likelihood(f, current, head.exp()).sum() for f in folds]
        ).sum()
        optimizer.step((0.5 * pull - likelihood) / count)
    found = [p.detach() for p in parameters]
    return _remainder(found), float(found[3].exp())


def _remainder(parameters: Sequence[Tensor]) -> Remainder:
    scale, lengths, noise, _, *rest = parameters
    trend = Trend(rest[0], rest[1].exp()) if rest else None
    return Remainder(scale.exp(), lengths.exp(), noise.exp() + 1e-6, trend)
