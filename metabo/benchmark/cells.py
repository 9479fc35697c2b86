"""Cells that are kept on the disk as soon as they are finished, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from metabo.atomic import replacing
from metabo.benchmark.run import Rows, finished


@dataclass(frozen=True)
class Failure:
    """Why there is no result.

    Attributes:
        error: The last line.
        traceback: All of them.
    """

    error: str
    traceback: str


@dataclass(frozen=True, eq=False)
class Cell:
    """One method on one task.

    Attributes:
        key: All that decides the result, JSON-able.
        call: Gives the rows.
    """

    key: Mapping[str, Any]
    call: Callable[[], Rows]

    @property
    def digest(self) -> str:
        """A name for the key."""
        text = json.dumps(self.key, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a grid gave.

    Attributes:
        rows: Of all cells that were finished, in the order of the cells.
        failures: The keys of the others, with `error` and `traceback`.
    """

    rows: pd.DataFrame
    failures: list[dict[str, Any]]


def attempt(call: Callable[[], Any]) -> Any:
    """The result, or the Failure: one cell must not end the run of the others."""
    try:
        return call()
    except Exception as error:
        text = "".join(traceback.format_exception_only(error)).strip()
        return Failure(text.splitlines()[-1], traceback.format_exc())


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    *,
    label: str,
    jobs: int | None = 2,
    retry: bool = False,
) -> Outcomes:
    """Run those of the cells that are not in a folder yet; each is put there when it is finished.

    Args:
        cells: With different keys.
        folder: One file for each cell. Only this process writes to it, on whatever machines the
            cells run.
        label: What the progress bar says.
        jobs: As in `finished`.
        retry: Whether cells that failed in an earlier run are run again.

    Raises:
        ValueError: If two cells have one key, or a file is not of its cell.
    """
    known = {cell.digest: _read(folder, cell) for cell in cells}
    if len(known) < len(cells):
        raise ValueError(f"{len(cells) - len(known)} cells have the key of another cell")
    if retry:
        known = {k: None if isinstance(v, Failure) else v for k, v in known.items()}
    missing = [cell for cell in cells if known[cell.digest] is None]
    calls = [partial(attempt, cell.call) for cell in missing]
    for i, outcome in finished(calls, label=label, jobs=jobs, done=len(cells) - len(missing)):
        _write(folder, missing[i], outcome)
        known[missing[i].digest] = outcome
    return _outcomes(cells, known)


def _outcomes(cells: Sequence[Cell], known: Mapping[str, Rows | Failure | None]) -> Outcomes:
    rows: Rows = []
    failures = []
    for cell in cells:
        outcome = known[cell.digest]
        if isinstance(outcome, Failure):
            failures.append({**cell.key, **asdict(outcome)})
        else:
            rows += outcome or []
    return Outcomes(pd.DataFrame(rows), failures)


def _write(folder: Path, cell: Cell, outcome: Rows | Failure) -> None:
    content: dict[str, Any] = {"rows": outcome}
    if isinstance(outcome, Failure):
        content = {"failure": asdict(outcome)}
    with replacing(folder / f"{cell.digest}.json") as temporary:
        temporary.write_text(json.dumps({"key": cell.key, **content}, default=str))


def _read(folder: Path, cell: Cell) -> Rows | Failure | None:
    """What an earlier run left, None if it did not finish the cell."""
    path = folder / f"{cell.digest}.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        if content["key"] != json.loads(json.dumps(cell.key, default=str)):
            raise ValueError("it has the key of another cell")
        failure = content.get("failure")
        return Failure(**failure) if failure else [dict(row) for row in content["rows"]]
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the result of its cell: delete it, then go on") from error
