"""What a long run leaves on the disk: its checkpoint and its training curve."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

CURVE_COLUMNS = ("outer_step", "loss_before", "loss_after", "seconds")


@dataclass(frozen=True)
class Records:
    """Which records a run keeps.

    Attributes:
        checkpoint: The file to go on from; none is written if None.
        every: How many outer steps lie between two checkpoints.
        resume: Whether to go on from the checkpoint, if it exists.
        curve: A CSV of the training curve, one row a look at the device: outer step, mean loss
            before and after adapting, and seconds since the start.

    Raises:
        ValueError: If there is nothing to resume from, or `every` is not positive.
    """

    checkpoint: Path | None = None
    every: int = 100
    resume: bool = False
    curve: Path | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1; got {self.every}")
        if self.resume and self.checkpoint is None:
            raise ValueError("resume=True needs checkpoint, the file to go on from")


class Curve:
    """The training curve, appended to as the run goes; after `resume`, as if never interrupted."""

    def __init__(self, path: Path | None, first_step: int) -> None:
        self._path = path
        self._seconds_before = 0.0
        if path is None:
            return
        kept = _rows_up_to(path, first_step) if first_step else []
        if kept:
            self._seconds_before = float(kept[-1]["seconds"])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, CURVE_COLUMNS)
            writer.writeheader()
            writer.writerows(kept)

    def add(self, outer_step: int, loss_before: float, loss_after: float, seconds: float) -> None:
        """Append a row."""
        if self._path is None:
            return
        total = f"{self._seconds_before + seconds:.3f}"
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow((outer_step, loss_before, loss_after, total))


def _rows_up_to(path: Path, step: int) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        # A killed run may leave half a row, always after its last checkpoint.
        whole = (row for row in csv.DictReader(file) if None not in row.values())
        return [row for row in whole if int(row["outer_step"]) <= step]
