"""What a long run leaves on the disk: its checkpoint and its training curve."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from metabo.meta_training.tensorboard import Board

CURVE_COLUMNS = ("outer_step", "loss_before", "loss_after", "held_out_loss", "seconds")


@dataclass(frozen=True)
class Records:
    """Which records a run keeps.

    Attributes:
        checkpoint: The file to go on from; none is written if None.
        every: How many outer steps lie between two checkpoints.
        resume: Whether to go on from the checkpoint, if it exists.
        curve: A CSV of the training curve, one row a look at the device: outer step, mean loss
            before and after adapting, loss of held-out tasks where they were looked at, and seconds
            since the start.
        tensorboard: A folder for the same curve in TensorBoard, which has to be installed.

    Raises:
        ValueError: If there is nothing to resume from, or `every` is not positive.
    """

    checkpoint: Path | None = None
    every: int = 100
    resume: bool = False
    curve: Path | None = None
    tensorboard: Path | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1; got {self.every}")
        if self.resume and self.checkpoint is None:
            raise ValueError("resume=True needs checkpoint, the file to go on from")

    def named(self, name: str) -> Records:
        """The records of one of several runs: the same files, with `name` in theirs."""

        def own(path: Path | None) -> Path | None:
            return None if path is None else path.with_name(f"{path.stem}-{name}{path.suffix}")

        return replace(
            self,
            checkpoint=own(self.checkpoint),
            curve=own(self.curve),
            tensorboard=own(self.tensorboard),
        )


class Curve:
    """The training curve, appended to as the run goes; after `resume`, as if never interrupted.

    Args:
        records: Where it goes.
        first_step: Where the run goes on.

    Raises:
        ImportError: If the records are for TensorBoard, which is not installed.
    """

    def __init__(self, records: Records, first_step: int) -> None:
        self._path = path = records.curve
        self._seconds_before = 0.0
        self._board = Board(records.tensorboard, first_step) if records.tensorboard else None
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

    def add(self, outer_step: int, losses: dict[str, float], seconds: float) -> None:
        """Append a row; `losses` by the names of the columns."""
        if self._board is not None:
            self._board.add(outer_step, losses)
        if self._path is None:
            return
        total = f"{self._seconds_before + seconds:.3f}"
        with self._path.open("a", newline="") as file:
            row = {"outer_step": outer_step, **losses, "seconds": total}
            csv.DictWriter(file, CURVE_COLUMNS).writerow(row)

    def close(self) -> None:
        """Write what is still held back."""
        if self._board is not None:
            self._board.close()


def _rows_up_to(path: Path, step: int) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        # A killed run may leave half a row, always after its last checkpoint.
        whole = (row for row in csv.DictReader(file) if None not in row.values())
        return [row for row in whole if int(row["outer_step"]) <= step]
