"""Which columns of a table of earlier runs are inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from metabo.column import closest


def input_columns(
    frame: pd.DataFrame, task: str, inputs: Sequence[str] | None, output: str
) -> list[str]:
    """The input columns, after all columns that were asked for are found to be there.

    Args:
        frame: One row for each observation.
        task: The column that tells tasks apart.
        inputs: The columns of the inputs; all others if None.
        output: The column of what was measured.

    Raises:
        TypeError: If the table is no pandas frame, or inputs is one string.
        ValueError: If a column is not there, there twice or asked for twice, or there are no
            inputs or rows.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"expected a pandas DataFrame, got a {type(frame).__name__}")
    if isinstance(inputs, str):
        raise TypeError(f"inputs must be a list of column names, such as [{inputs!r}]")
    if inputs is None:
        inputs = [name for name in frame.columns if name not in {task, output}]
    columns = list(frame.columns)
    for name in inputs:
        if name in columns and not isinstance(name, str):
            raise ValueError(
                f"the input column {name!r} is called by no text: rename it, for all with "
                "frame.columns = frame.columns.map(str)"
            )
    for role, name in [("task", task), ("output", output), *(("input", name) for name in inputs)]:
        if name not in frame.columns:
            raise ValueError(f"the table has no {role} column {name!r}: {closest(name, columns)}")
    for name, count in Counter([task, output, *inputs]).items():
        if count > 1:
            raise ValueError(f"column {name!r} is asked for {count} times; each has one role")
        if columns.count(name) > 1:
            raise ValueError(f"the table has more than one column {name!r}; rename one")
    if not inputs:
        raise ValueError("no input columns: name at least one")
    if frame.empty:
        raise ValueError("the table has no rows")
    return list(inputs)
