"""What has been measured so far on the new task: from a table, or from the journal of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from metabo.column import numbers_of
from metabo.constraint import Constraint
from metabo.journal import JournalError, is_journal, read_journal
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.table_file import read_lines, read_table

_FAILED = "failed"  # in the place of a measured value
_MOST = 2000  # observations: the time grows with the cube of their number


@dataclass(frozen=True)
class Limit:
    """What a further output has to be.

    Attributes:
        path: The file of its Prior.
        is_upper: Whether the value is the most that is allowed, not the least.
        value: The limit, in the user's unit.
    """

    path: Path
    is_upper: bool
    value: float

    def constraint(self) -> tuple[str, Constraint]:
        """The output's name, and the constraint.

        Raises:
            ValueError: If the Prior does not say which column it was trained on.
        """
        prior = Prior.load(self.path)
        output = (prior.provenance.get("table") or {}).get("output")
        if output is None:
            raise ValueError(f"{self.path} does not say what it is of: make it with metabo train")
        if self.is_upper:
            return output, Constraint(prior, high=self.value)
        return output, Constraint(prior, low=self.value)


@dataclass(frozen=True)
class Observations:
    """Where they are, and how to read them.

    Attributes:
        path: CSV, Parquet or a journal; `-` is the standard input; None if there are none yet.
        output: The column of what was measured; as in training if None.
        minimize: Whether a smaller value is better; as in training if None.
        limits: What further outputs have to be.
        candidates: A table of the only points that may be suggested.
        seed: Decides the suggestions.
    """

    path: Path | None = None
    output: str | None = None
    minimize: bool | None = None
    limits: Sequence[Limit] = ()
    candidates: Path | None = None
    seed: int = 0

    @property
    def files(self) -> list[Path | None]:
        """What is read."""
        return [self.path, self.candidates, *(limit.path for limit in self.limits)]

    def tell(self, prior: Prior) -> tuple[Optimizer, str]:
        """An Optimizer that knows them, and the output's name.

        Raises:
            ValueError: If a column or a value is missing or wrong, or the journal is of another
                session.
        """
        path = self.path
        if path is not None and str(path) != "-" and is_journal(path):
            return self._replay(prior, path)
        optimizer = self._optimizer(prior, self.seed, self.minimize)
        frame, lines = (pd.DataFrame(), []) if path is None else read_lines(path)
        return optimizer, _tell(optimizer, frame.set_axis(lines), self.output, path)

    def _optimizer(self, prior: Prior, seed: int, minimize: bool | None) -> Optimizer:
        choice = self.candidates
        return Optimizer(
            prior,
            seed=seed,
            minimize=minimize,
            candidates=None if choice is None else _inputs(prior, read_table(choice), choice),
            constraints=dict(limit.constraint() for limit in self.limits),
        )

    def _replay(self, prior: Prior, path: Path) -> tuple[Optimizer, str]:
        session, events = read_journal(path)
        if session.get("prior") != prior.digest:
            raise JournalError(f"{path} is the journal of a session with another prior")
        seed, minimize = session.get("seed"), session.get("minimize")
        if not isinstance(seed, int) or not isinstance(minimize, bool):
            raise JournalError(f"{path}, line 1 is broken: it has no seed or direction")
        if self.minimize not in (None, minimize):
            raise JournalError(
                f"{path} is the journal of a session that {'min' if minimize else 'max'}imises: "
                "give no other direction"
            )
        optimizer = self._optimizer(prior, seed, minimize)
        for number, event in enumerate(events, start=2):
            try:
                if event.kind == "asked":
                    optimizer.hold(event.x)
                else:
                    failed = event.kind == "failed"
                    optimizer.tell(event.x, event.y, failed=failed, constraints=event.constraints)
            except ValueError as error:
                raise JournalError(f"{path}, line {number}: {error}") from error
        return optimizer, self.output or _trained_output(prior) or "value"


def _trained_output(prior: Prior) -> str | None:
    return (prior.provenance.get("table") or {}).get("output")


def _inputs(prior: Prior, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The columns of the Prior's inputs; others are of no interest."""
    for name in prior.space.names:
        if name not in frame.columns:
            raise ValueError(
                f"{path} has no column {name!r}; the prior's inputs are "
                f"{', '.join(prior.space.names)}"
            )
    return frame[list(prior.space.names)]


def _tell(optimizer: Optimizer, frame: pd.DataFrame, output: str | None, path: Path | None) -> str:
    """Tell the rows, whose index is their lines; one without a value is being evaluated.

    Returns:
        The output's name.
    """
    prior = optimizer.prior
    output = output or _trained_output(prior)
    if len(frame.columns) == 0:
        return output or "value"
    assert path is not None
    if len(frame) > _MOST:
        raise ValueError(
            f"{path} has {len(frame)} rows; a prior is for tasks with few observations, at most "
            f"{_MOST}: keep the best and the latest"
        )
    points = _inputs(prior, frame, path)
    others = [name for name in frame.columns if name not in points.columns]
    output = output or (others[0] if len(others) == 1 else None)
    if output in points.columns:
        raise ValueError(
            f"{output!r} is an input of the prior: name the column of measured values with --output"
        )
    if output is None or output not in frame.columns:
        raise ValueError(
            f"{path} has no column {output!r} of measured values; name it with --output"
            if output
            else f"which column of {path} holds the measured values? name it with --output"
        )
    failed = frame[output].astype(str).str.strip().str.lower() == _FAILED
    values = _values(frame, output, path, failed)
    others = _others(optimizer, frame, path, failed)
    X = prior.space.to_dicts(prior.space.to_tensor(points))
    for x, y, has_failed, other in zip(X, values, failed, others, strict=True):
        if has_failed:
            optimizer.tell(x, failed=True)
        elif np.isnan(y):
            optimizer.hold(x)
        else:
            optimizer.tell(x, y, constraints=other)
    return output


def _values(frame: pd.DataFrame, name: str, path: Path, failed: pd.Series) -> pd.Series:
    """A column of measured values, NaN where there is none yet."""
    if name not in frame.columns:
        raise ValueError(f"{path} has no column {name!r}, which is constrained")
    values = pd.Series(numbers_of(frame[name]), frame.index)
    text = values.isna() & frame[name].notna() & ~failed
    if text.any():
        line = text.idxmax()
        raise ValueError(
            f"{path}, line {line}: {name!r} is {frame[name][line]!r}, not a number; leave it empty "
            f"where a value is still to come, and write {_FAILED} where there will be none"
        )
    return values


def _others(
    optimizer: Optimizer, frame: pd.DataFrame, path: Path, failed: pd.Series
) -> list[dict[str, float]]:
    """The constrained outputs of each row."""
    columns = {name: _values(frame, name, path, failed) for name in optimizer.constraints}
    return [
        {name: float(column.iloc[row]) for name, column in columns.items()}
        for row in range(len(frame))
    ]
