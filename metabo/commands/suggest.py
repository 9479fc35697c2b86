"""`metabo suggest`: what to evaluate next, and why."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metabo.commands.observations import Observations
from metabo.commands.terminal import console, note, print_json, print_table
from metabo.optimizer import Expected, Optimizer, PriorCollapsedWarning
from metabo.prior import Prior
from metabo.table_file import refuse_overwriting, write_table


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
    observations: Observations,
    *,
    count: int,
    fixed: Mapping[str, Any],
    as_json: bool,
    out: Path | None,
) -> None:
    """Print suggestions as a table or JSON, or write them to a file."""
    refuse_overwriting(out, path, *observations.files)
    found = suggestions(*observations.tell(Prior.load(path)), count=count, fixed=fixed)
    for message in found.notes:
        note(message)
    if out is not None:
        write_table(found.table(), out)
    elif as_json:
        print_json(found.to_json())
    else:
        _print(found)


def suggestions(
    optimizer: Optimizer, output: str, *, count: int = 1, fixed: Mapping[str, Any] | None = None
) -> Suggestions:
    """Ask an Optimizer.

    Args:
        optimizer: It knows what was measured.
        output: What the measured value is called.
        count: How many points.
        fixed: Inputs that must have a value.
    """
    pending = len(optimizer.pending)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PriorCollapsedWarning)
        points = optimizer.ask(count, fixed=fixed)
        expected = optimizer.expect(points)
        weight = float(optimizer.model.prior_weight)
    notes = [str(w.message) for w in caught if issubclass(w.category, PriorCollapsedWarning)]
    if pending:
        under_way = (
            "1 point without a value is"
            if pending == 1
            else f"{pending} points without a value are"
        )
        notes.append(f"{under_way} taken to be under way")
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
