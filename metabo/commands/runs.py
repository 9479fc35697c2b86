"""A file of earlier runs, and what its columns are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from metabo.column import SpaceError
from metabo.space_file import declared_space, read_declarations
from metabo.table_file import read_lines
from metabo.tasks.findings import Finding, find

if TYPE_CHECKING:
    from metabo.space import InputSpace
    from metabo.tasks.tables import TableFamily


@dataclass(frozen=True)
class Runs:
    """Earlier runs as the user names them on the command line.

    Attributes:
        path: CSV or Parquet; `-` is the standard input.
        task: The column that tells tasks apart.
        output: The column of what was measured.
        inputs: The columns of the inputs; all others if None.
        minimize: Whether a smaller output is better.
        space: A file that declares inputs.
    """

    path: Path
    task: str
    output: str
    inputs: tuple[str, ...] | None = None
    minimize: bool = False
    space: Path | None = None

    @cached_property
    def _table(self) -> tuple[pd.DataFrame, Sequence[int]]:
        frame, lines = read_lines(self.path)
        if frame.empty:
            raise ValueError(f"{self.path} is empty: there are no runs to learn from")
        return frame, lines

    @property
    def frame(self) -> pd.DataFrame:
        """The table."""
        return self._table[0]

    @cached_property
    def declarations(self) -> dict[str, Any]:
        """What the file says of inputs."""
        return {} if self.space is None else read_declarations(self.space)

    @cached_property
    def findings(self) -> list[Finding]:
        """What is wrong or doubtful."""
        found = find(
            self.frame,
            task=self.task,
            output=self.output,
            inputs=self.inputs,
            minimize=self.minimize,
            declared=list(self.declarations),
            lines=self._table[1],
        )
        if self.declarations and all(finding.severity != "wrong" for finding in found):
            try:
                self._declared_space().to_tensor(self.frame[self._inputs])
            except SpaceError as error:
                found.insert(0, Finding("wrong", "declared with --space", str(error)))
        return found

    @property
    def _inputs(self) -> list[str]:
        others = [name for name in self.frame.columns if name not in {self.task, self.output}]
        return list(self.inputs or others)

    def _declared_space(self) -> InputSpace:
        return declared_space(self.frame, self._inputs, self.declarations)

    def family(self) -> TableFamily:
        """The tasks.

        Raises:
            ValueError: If anything is wrong with the table; says all that is.
        """
        from metabo.tasks.tables import TableFamily  # here, since `check` needs no PyTorch

        wrong = [finding for finding in self.findings if finding.severity == "wrong"]
        if wrong:
            lines = [f"  column {finding.column!r} {finding.message}" for finding in wrong]
            raise ValueError("\n".join([f"{self.path} cannot be learned from:", *lines]))
        return TableFamily.from_frame(
            self.frame,
            task=self.task,
            output=self.output,
            inputs=self._inputs,
            space=self._declared_space(),
            minimize=self.minimize,
        )
