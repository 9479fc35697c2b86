"""`metabo suggest`: what to evaluate next, and why."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metabo.commands.terminal import console, note, print_json, print_table
from metabo.constraint import Constraint
from metabo.optimizer import Expected, Optimizer, PriorCollapsedWarning
from metabo.prior import Prior
from metabo.table_file import read_table, write_table

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
class Suggestions:
    """The next points, and what they rest on.

    Attributes:
        points: What to evaluate.
        expected: What to expect there.
        output: What the measured value is called.
        observations: How many there are so far.
        pending: How many rows had no value yet.
        prior_weight: The share of the posterior that rests on the Prior.
        best: The best observation so far, None without any.
        notes: What to be aware of.
    """

    points: list[dict[str, Any]]
    expected: list[Expected]
    output: str
    observations: int
    pending: int
    prior_weight: float
    best: tuple[dict[str, Any], float] | None
    notes: list[str]

    def table(self) -> pd.DataFrame:
        """One row a point, with an empty cell for what will be measured."""
        expected = pd.DataFrame(self.expected).add_prefix("expected_")
        points = pd.DataFrame(self.points)
        return pd.concat(
            [points, pd.Series(np.nan, points.index, name=self.output), expected], axis=1
        )

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        pairs = zip(self.points, self.expected, strict=True)
        best = self.best and {"x": self.best[0], "y": self.best[1]}
        return {
            "suggestions": [{"x": x, "expected": expected._asdict()} for x, expected in pairs],
            "output": self.output,
            "observations": self.observations,
            "pending": self.pending,
            "prior_weight": self.prior_weight,
            "best": best,
            "notes": self.notes,
        }


def suggest(
    path: Path,
    observations: Path | None,
    *,
    count: int,
    output: str | None,
    minimize: bool | None,
    fixed: Mapping[str, Any],
    limits: Sequence[Limit],
    candidates: Path | None,
    seed: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Print suggestions as a table or JSON, or write them to a file."""
    prior = Prior.load(path)
    frame = pd.DataFrame() if observations is None else read_table(observations)
    choice = None if candidates is None else _inputs(prior, read_table(candidates), candidates)
    optimizer = Optimizer(
        prior,
        seed=seed,
        minimize=minimize,
        candidates=choice,
        constraints=dict(limit.constraint() for limit in limits),
    )
    output = _tell(optimizer, frame, output, observations)
    found = _suggest(optimizer, count, fixed, output)
    for message in found.notes:
        note(message)
    if out is not None:
        write_table(found.table(), out)
    elif as_json:
        print_json(found.to_json())
    else:
        _print(found)


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
    """Tell the rows; one without a value is being evaluated. Returns the output's name."""
    prior = optimizer.prior
    output = output or (prior.provenance.get("table") or {}).get("output")
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
    values = pd.to_numeric(frame[name], errors="coerce").astype(float)
    text = values.isna() & frame[name].notna() & ~failed
    if text.any():
        row = int(text.to_numpy().argmax())
        raise ValueError(
            f"{path}, line {row + 2}: {name!r} is {frame[name].iloc[row]!r}, not a number; leave "
            f"it empty where a value is still to come, and write {_FAILED} where there will be none"
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


def _suggest(
    optimizer: Optimizer, count: int, fixed: Mapping[str, Any], output: str
) -> Suggestions:
    pending = len(optimizer.pending)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PriorCollapsedWarning)
        points = optimizer.ask(count, fixed=fixed)
        expected = optimizer.expect(points)
        weight = float(optimizer.model.prior_weight)
    notes = [str(w.message) for w in caught if issubclass(w.category, PriorCollapsedWarning)]
    if pending:
        rows = "1 row without a value is" if pending == 1 else f"{pending} rows without a value are"
        notes.append(f"{rows} taken to be under way")
    if len(optimizer) and not optimizer.met.any():
        notes.append("no observation has met the constraints yet")
    return Suggestions(
        points=points,
        expected=expected,
        output=output,
        observations=len(optimizer),
        pending=pending,
        prior_weight=weight,
        best=optimizer.best() if optimizer.met.any() else None,
        notes=notes,
    )


def _print(found: Suggestions) -> None:
    header = [*found.points[0], f"expected {found.output}", "90% interval"]
    rows = [
        [*x.values(), expected.mean, f"{expected.low:.5g} to {expected.high:.5g}"]
        for x, expected in zip(found.points, found.expected, strict=True)
    ]
    print_table("Evaluate next", header, rows)
    out = console()
    if found.best is not None:
        x, y = found.best
        where = ", ".join(f"{name} = {value}" for name, value in x.items())
        out.print(f"best of {found.observations} so far: {found.output} = {y:.5g} at {where}")
    share = f"{found.prior_weight:.0%} of the posterior rests on the earlier runs"
    out.print(f"{share}, the rest allows for a task that is unlike them")
