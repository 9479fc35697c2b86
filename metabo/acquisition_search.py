"""Where an acquisition function is largest, on a space of any inputs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import torch
from botorch.acquisition import AcquisitionFunction
from botorch.exceptions.warnings import OptimizationWarning
from botorch.generation.gen import gen_candidates_scipy
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor

from metabo.space import InputSpace

_POOL = 2048  # quasi-random points that the search starts from
_STARTS = 4  # of which so many are improved
_APART = 0.02  # of each float's range: how far a point keeps from those that are taken
_NEARBY = 128  # random changes of the best points so far, for inputs that have no gradient


class ExhaustedError(RuntimeError):
    """There is no point left to propose."""


def search_space(
    acquisition: AcquisitionFunction,
    space: InputSpace,
    X_evaluated: Tensor,
    *,
    seed: int,
    fixed: Mapping[int, float] | None = None,
    X_taken: Tensor | None = None,
    X_known: Tensor | None = None,
) -> Tensor:
    """The point (`d`) of a space, mixed or not, where an acquisition function is largest.

    A quasi-random pool, then changes of its best points for inputs that are whole or categorical,
    then BoTorch's L-BFGS-B for the others.

    Args:
        acquisition: The function, in the user's units.
        space: Where to look.
        X_evaluated: `n x d`, further points to start from.
        seed: Of the pool.
        fixed: Columns that keep a value.
        X_taken: `m x d`, points that are not wanted again, nor others close by.
        X_known: `k x d`, points that may be better than all around them: compared as they are.

    Raises:
        ExhaustedError: If no other point is left.
    """
    fixed, none = fixed or {}, X_evaluated[:0]
    taken, known = none if X_taken is None else X_taken, none if X_known is None else X_known

    def score(points: Tensor) -> Tensor:
        values = score_points(acquisition, points)
        return values.masked_fill(_is_near(space, points, taken), -math.inf)

    pool = _with(fixed, torch.cat([space.sample(_POOL, seed=seed), X_evaluated]))
    values = score(pool)
    whole = sorted({*space.integer_dims, *space.categorical_dims, *fixed})
    if whole:
        for radius in (0.2, 0.05):
            near = _nearby(space, pool[values.topk(_STARTS).indices], radius, seed)
            near = _with(fixed, near)
            pool, values = torch.cat([pool, near]), torch.cat([values, score(near)])
    starts = pool[values.topk(_STARTS).indices]
    if float(values.max()) == -math.inf:
        raise ExhaustedError("every point of this space is pending or has failed")
    points = torch.cat([starts, _with(fixed, known)])
    if len(whole) < space.dim:
        # Inputs without a gradient stay at each start's values; without any, all go together.
        groups = starts.split(1 if whole else _STARTS)
        polished = [_polish(acquisition, space, group, whole) for group in groups]
        points = torch.cat([points, _with(fixed, torch.cat(polished))])
    return points[score(points).argmax()]


def score_points(acquisition: AcquisitionFunction, points: Tensor) -> Tensor:
    """The acquisition value, `N`, of points `N x d`."""
    with torch.no_grad():
        return torch.cat([acquisition(part.unsqueeze(-2)) for part in points.split(4096)])


def _is_near(space: InputSpace, points: Tensor, taken: Tensor) -> Tensor:
    """Which points, `N`, agree with one that is taken in all inputs, or nearly so.

    Whole numbers and categories agree if they are the same.
    """
    whole = [*space.integer_dims, *space.categorical_dims]
    near = torch.zeros(len(points), dtype=torch.bool)
    # In a batch of many they come closer: a large part of the space has to stay free.
    apart = min(_APART, 0.25 / max(len(taken), 1))
    unit, units = space.to_unit(points), space.to_unit(taken)
    # These count as they are, with steps of 1, wider than any distance that is near.
    unit[:, whole], units[:, whole] = points[:, whole], taken[:, whole]
    for other in units:
        near |= (unit - other).abs().amax(-1) < apart
    return near


def _with(fixed: Mapping[int, float], points: Tensor) -> Tensor:
    points = points.clone()
    for column, value in fixed.items():
        points[:, column] = value
    return points


def _nearby(space: InputSpace, points: Tensor, radius: float, seed: int) -> Tensor:
    """Legal points that differ from given ones by a step, or in one input by anything."""
    generator = torch.Generator().manual_seed(seed)
    count, width = _NEARBY * len(points), space.dim
    centers = space.to_unit(points).repeat(_NEARBY, 1)
    steps = radius * torch.randn(count, width, generator=generator, dtype=torch.float64)
    elsewhere = torch.rand(count, width, generator=generator, dtype=torch.float64)
    jump = torch.rand(count, width, generator=generator) < 1 / width
    return space.from_unit(torch.where(jump, elsewhere, centers + steps).clamp(0, 1))


class _InUnitCube(AcquisitionFunction):
    """An acquisition function of the unit cube, where all inputs have one scale."""

    def __init__(self, acquisition: AcquisitionFunction, space: InputSpace) -> None:
        super().__init__(acquisition.model)
        self.acquisition, self.space = acquisition, space

    @t_batch_mode_transform()  # type: ignore[arg-type]
    def forward(self, U: Tensor) -> Tensor:
        return self.acquisition(self.space.from_unit(U))


def _polish(
    acquisition: AcquisitionFunction, space: InputSpace, starts: Tensor, whole: list[int]
) -> Tensor:
    """Improve the continuous inputs of points `s x d` that agree in the others."""
    unit = space.to_unit(starts)
    # BoTorch shows its warnings whatever the filters are.
    with warnings.catch_warnings(record=True) as caught:
        best, _ = gen_candidates_scipy(
            initial_conditions=unit.unsqueeze(-2),
            acquisition_function=_InUnitCube(acquisition, space),
            lower_bounds=0.0,
            upper_bounds=1.0,
            fixed_features={i: float(unit[0, i]) for i in whole},
            options={"maxiter": 50},
        )
    for each in caught:
        # A line search that ends early leaves a point no worse than its start, which is kept too.
        if not issubclass(each.category, OptimizationWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return space.from_unit(best.detach()).squeeze(-2)
