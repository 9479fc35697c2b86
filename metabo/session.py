"""What has happened so far in one optimisation: kept in memory and, if wanted, in a journal."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metabo.journal import Event, Journal
from metabo.space import InputSpace

SAME = 1e-4  # of each input's range: as far off may a suggestion be carried out


def meant(space: InputSpace, points: Tensor, point: Tensor) -> int | None:
    """Which of some points `n x d` is meant by a point `d`: the nearest, if it is near enough."""
    if len(points) == 0:
        return None
    distances = deviations(space, points, point).amax(-1)
    nearest = int(distances.argmin())
    return nearest if float(distances[nearest]) <= SAME else None


def deviations(space: InputSpace, points: Tensor, point: Tensor) -> Tensor:
    """How far points `n x d` are from one, `d`, in each input, `n x d`, as shares of its range.

    Whole numbers and categories are the same or infinitely far.
    """
    apart = (space.to_unit(points) - space.to_unit(point)).abs()
    whole = [*space.integer_dims, *space.categorical_dims]
    apart[:, whole] = torch.where(points[:, whole] == point[whole], 0.0, math.inf).to(apart)
    return apart


class Session:
    """The points that were told, are pending or have failed.

    Attributes:
        X: `n x d`, the points that were told ...
        Y: `n x 1`, ... and the responses there; user's units.
        pending: `p x d`, asked for and not told yet.
        failed: `f x d`.
        others: `n x m`, the further outputs that were told with Y.

    Args:
        space: The inputs.
        journal: The file that keeps the events; what is in it already happens again.
        identity: What the journal must have been begun with. JSON-able.
        constraints: The names of the further outputs.

    Raises:
        JournalError: If the journal is broken, of another session, or in use.
    """

    def __init__(
        self,
        space: InputSpace,
        journal: str | os.PathLike[str] | None,
        identity: Mapping[str, Any],
        constraints: Sequence[str] = (),
    ) -> None:
        self.space, self._constraints = space, tuple(constraints)
        self.X = torch.empty(0, space.dim, dtype=torch.float64)
        self.Y = torch.empty(0, 1, dtype=torch.float64)
        self.pending, self.failed = self.X, self.X
        self.others = torch.empty(0, len(self._constraints), dtype=torch.float64)
        self.journal = None if journal is None else Journal(journal, dict(identity))
        if self.journal is not None:
            self._repeat(self.journal)

    def _repeat(self, journal: Journal) -> None:
        for line, event in enumerate(journal.events, start=2):
            try:
                self._apply(event)
            except ValueError as error:
                journal.close()
                raise journal.broken(line, error) from error

    def record(
        self,
        kind: str,
        *points: Mapping[str, Any],
        y: float | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """Take events of one kind, all of them or none.

        Args:
            kind: "asked", "told" or "failed".
            points: Where.
            y: The response, if told.
            constraints: The further outputs, if told.

        Raises:
            SpaceError: If a point is not legal.
            OSError: If the journal cannot be written.
        """
        rows = [self.space.to_tensor(point) for point in points]
        others = dict(constraints or {})
        events = [Event(kind, self.space.to_dicts(row)[0], y, others) for row in rows]
        if self.journal is not None:  # first: what cannot be written has not happened
            self.journal.append(*events)
        for event in events:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        row = self.space.to_tensor(event.x)
        if event.kind == "asked":
            self.pending = torch.cat([self.pending, row])
            return
        self.pending = self._without(self.pending, row)
        self.failed = self._without(self.failed, row)
        if event.y is None:
            self.failed = torch.cat([self.failed, row])
        else:
            self.X = torch.cat([self.X, row])
            self.Y = torch.cat([self.Y, self.Y.new_tensor([[event.y]])])
            others = [self._constraint(event, name) for name in self._constraints]
            self.others = torch.cat([self.others, self.others.new_tensor([others])])

    def _constraint(self, event: Event, name: str) -> float:
        if name not in event.constraints:
            raise ValueError(f"the constrained output {name!r} was not told")
        return event.constraints[name]

    def _without(self, points: Tensor, row: Tensor) -> Tensor:
        """The points but the one that is nearest to a row, if it is near enough to be meant."""
        nearest = meant(self.space, points, row[0])
        if nearest is None:
            return points
        return torch.cat([points[:nearest], points[nearest + 1 :]])
