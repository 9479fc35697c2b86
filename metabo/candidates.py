"""A list of points to choose from: which are left, and which of them promises most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from botorch.acquisition import AcquisitionFunction
from torch import Tensor

from metabo.acquisition_search import score_points
from metabo.mixture.conditioning import Comparison
from metabo.mixture.fixed_points import At, FixedPoints, fit_in_memory
from metabo.session import SAME, deviations, meant
from metabo.space import InputSpace
from metabo.surrogates.incumbent_improvement import LogIncumbentImprovement

_ROWS = 4096  # scored at a time
_IN_CACHE = 100_000  # numbers at a time
_ROUNDING = 1e-6  # of the logarithm of an improvement, and far more than there is


class Candidates:
    """The candidates of one session.

    What the model says of them is kept from suggestion to suggestion, as long as that fits in
    memory: one more observation changes it by little work.

    Args:
        space: The inputs.
        points: `N x d` in the user's units, a data frame or a list of dicts.

    Raises:
        SpaceError: If a point is outside the space.
        ValueError: If there are none.
    """

    def __init__(
        self, space: InputSpace, points: Tensor | pd.DataFrame | Sequence[Mapping[str, Any]]
    ) -> None:
        if not isinstance(points, Tensor):
            points = space.to_tensor(points)
        if points.dim() != 2 or len(points) == 0:
            raise ValueError(
                f"candidates must be N x {space.dim} with N > 0; got {tuple(points.shape)}"
            )
        space.check(points, name="candidates")
        # On the CPU, as all of a session.
        self.space, self.X = space, space.snap(points.to("cpu", torch.float64))
        self._columns = self.X.T.contiguous()  # which are faster to compare than rows
        self._rows: dict[tuple[float, ...], Tensor] = {}
        self._fixed_points: FixedPoints | None = None

    def __len__(self) -> int:
        return len(self.X)

    def left(self, taken: Tensor, fixed: Mapping[int, float]) -> Tensor:
        """The rows, in order, that are none of some points `m x d` and have the fixed values.

        Points and values may be off by rounding, or as printed: then the nearest is meant.
        """
        left = torch.ones(len(self), dtype=torch.bool)
        for point in taken:
            left[self._rows_of(point)] = False
        for column, value in fixed.items():
            left &= self._have(column, value)
        return left.nonzero().squeeze(-1)

    def _rows_of(self, point: Tensor) -> Tensor:
        key = tuple(point.tolist())
        if key not in self._rows:
            rows = self._equal(point)
            nearest = None if len(rows) else meant(self.space, self.X, point)
            self._rows[key] = rows if nearest is None else self._equal(self.X[nearest])
        return self._rows[key]

    def _equal(self, point: Tensor) -> Tensor:
        return (self._columns == point[:, None]).all(0).nonzero().squeeze(-1)

    def _have(self, column: int, value: float) -> Tensor:
        """Which candidates, `N`, have a value in a column."""
        values = self._columns[column]
        if not (values == value).any():
            point = self.X[0].clone()
            point[column] = value
            apart = deviations(self.space, self.X, point)[:, column]
            nearest = apart.argmin()
            value = float(values[nearest]) if float(apart[nearest]) <= SAME else value
        return values == value

    def best(self, acquisition: AcquisitionFunction, rows: Tensor) -> Tensor:
        """The point (`d`) among some rows where an acquisition function is largest."""
        with torch.no_grad():
            if isinstance(acquisition, LogIncumbentImprovement) and fit_in_memory(
                len(self), acquisition.conditioned
            ):
                points = self._points(acquisition)
                return self.X[_most_promising(acquisition, self.X, points, rows)]
            return self.X[rows[score_points(acquisition, self.X[rows]).argmax()]]

    def _points(self, acquisition: LogIncumbentImprovement) -> FixedPoints:
        if self._fixed_points is None:
            encoded = [acquisition.encode(part) for part in self.X.split(_ROWS)]
            self._fixed_points = FixedPoints(*map(torch.cat, zip(*encoded, strict=True)))
        return self._fixed_points


def _most_promising(
    acquisition: LogIncumbentImprovement, X: Tensor, points: FixedPoints, rows: Tensor
) -> Tensor:
    """The row, 0-d, where the improvement is largest; before the first evaluation, the expectation.

    The acquisition function is not called: its values are made from what is kept of the points.
    """
    conditioned = acquisition.conditioned
    if len(acquisition.incumbent) == 0:
        predict = points.marginals(conditioned)
        values = [
            acquisition.expectation(X[part].unsqueeze(-2), predict(part))
            for part in rows.split(_ROWS)
        ]
    else:
        compare = points.compare(conditioned, acquisition.incumbent_row)
        if acquisition.in_closed_form:
            rows = _contenders(acquisition, X, compare, rows)
        values = [
            acquisition.improvement(X[part].unsqueeze(-2), compare(part))
            for part in rows.split(_ROWS)
        ]
    return rows[torch.cat(values).argmax()]


def _contenders(
    acquisition: LogIncumbentImprovement,
    X: Tensor,
    compare: Callable[[At], Comparison],
    rows: Tensor,
) -> Tensor:
    """The rows, among some, that may be the best: those that a cheap bound does not rule out."""
    width = max(_IN_CACHE // len(acquisition.conditioned.log_weights), 1024)
    parts = [slice(begin, begin + width) for begin in range(0, len(X), width)]
    bounds = torch.cat(
        [acquisition.log_bound(X[part].unsqueeze(-2), compare(part)) for part in parts]
    )[rows]
    first = rows[bounds.argmax()][None]
    reached = acquisition.improvement(X[first].unsqueeze(-2), compare(first))
    return rows[bounds >= reached - _ROUNDING]
