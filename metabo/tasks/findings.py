"""What is wrong or doubtful in a table of earlier runs, before anything is learned from it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from metabo import column
from metabo.column import Input, SpaceError
from metabo.tasks.columns import input_columns

_FEW_TASKS = 5
_FEW_ROWS = 3  # of a task
_FEW_OF_ONE_POINT = 4  # rows of the only task, as in meta-training
_MANY_CHOICES = 50
_SPAN = 1000.0  # from the smallest to the largest output
_SMALLER_IS_BETTER = re.compile(
    r"loss|err|rmse|mse|mae|regret|cost|price|time|second|latency|duration|perplexity|risk|waste"
)
_LARGER_IS_BETTER = re.compile(
    r"acc|auc|auroc|f1|r2|score|yield|reward|gain|profit|precision|recall|purity|through"
)


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
        severity: "wrong" (nothing can be learned from such a table), "doubtful" or "note".
        column: Where.
        message: What it is, and the mend.
    """

    severity: Literal["wrong", "doubtful", "note"]
    column: str
    message: str


def find(
    frame: pd.DataFrame,
    *,
    task: str,
    output: str,
    inputs: Sequence[str] | None = None,
    minimize: bool = False,
    declared: Collection[str] = (),
    lines: Sequence[int] | None = None,
) -> list[Finding]:
    """Look through a table with one row for each observation; the worst comes first.

    Args:
        frame: The table.
        task: The column that tells tasks apart.
        output: The column of what was measured.
        inputs: The columns of the inputs; all others if None.
        minimize: Whether a smaller output is said to be better.
        declared: Inputs whose types and ranges are declared, so that they need no guess.
        lines: On which line of its file each row is; one below another, after a header, if None.

    Raises:
        ValueError: If a column does not exist or there are no rows.
    """
    names = input_columns(frame, task, inputs, output)
    frame = frame.set_axis(range(2, len(frame) + 2) if lines is None else lines, axis="index")
    found = [
        *_missing(frame, [task, output, *names]),
        *_output(frame, output, minimize),
        *(finding for name in names for finding in _input(frame[name], name in declared)),
        *_too_few(frame[names], frame[task].astype(str)),
        *_tasks(frame[task].dropna()),
        *_duplicates(frame[[task, *names, output]]),
    ]
    order = ("wrong", "doubtful", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _line(rows: pd.Series) -> str:
    """Where in the file the first row is for which this is true."""
    return f"line {rows.idxmax()}"


def _missing(frame: pd.DataFrame, columns: Sequence[str]) -> Iterator[Finding]:
    for name in columns:
        empty = frame[name].isna()
        if empty.any():
            yield Finding(
                "wrong",
                name,
                f"{empty.sum()} of {len(empty)} cells are missing, first in {_line(empty)}: fill "
                "them in or remove these rows",
            )


def _numbers(values: pd.Series) -> pd.Series:
    """The numbers in a column, NaN where there is none."""
    return pd.Series(column.numbers_of(values), values.index, name=values.name)


def _not_numbers(values: pd.Series, *, is_output: bool = False) -> Iterator[Finding]:
    """Cells of a column of numbers that are none."""
    name, numbers = str(values.name), _numbers(values)
    text = numbers.isna() & values.notna()
    if text.any():
        example = values[text].iloc[0]
        yield Finding(
            "wrong",
            name,
            f"mixes numbers and text, such as {example!r} in {_line(text)}: repair these cells"
            + ("" if is_output else ", or declare its choices with --space"),
        )
    large = numbers.abs() > column.LARGEST
    if large.any():
        yield Finding(
            "wrong",
            name,
            f"holds {numbers[large].iloc[0]:g} in {_line(large)}, too large to compute with: "
            "repair it, remove the row or choose another unit",
        )


def _output(frame: pd.DataFrame, output: str, minimize: bool) -> Iterator[Finding]:
    values = _numbers(frame[output])
    if values.isna().all():
        kinds = {type(value).__name__ for value in frame[output].dropna()}
        but = f" but {' and '.join(sorted(kinds))} values" if kinds - {"str"} else ""
        message = f"holds no numbers{but}: is this the column that was measured?"
        yield Finding("wrong", output, message)
        return
    yield from _not_numbers(frame[output], is_output=True)
    low, high = float(values.min()), float(values.max())
    if low == high:
        yield Finding("doubtful", output, f"is {low:g} in all rows: there is nothing to learn")
    elif low > 0 and high / low > _SPAN:
        yield Finding(
            "note",
            output,
            f"runs from {low:g} to {high:g}: if ratios matter more than differences, learn from a "
            "column of its logarithms",
        )
    yield from _direction(output, minimize)


def _direction(output: str, minimize: bool) -> Iterator[Finding]:
    name = output.lower()
    smaller = bool(_SMALLER_IS_BETTER.search(name)) and not _LARGER_IS_BETTER.search(name)
    larger = bool(_LARGER_IS_BETTER.search(name)) and not _SMALLER_IS_BETTER.search(name)
    if smaller and not minimize:
        yield Finding("doubtful", output, "sounds as if smaller were better: use --minimize then")
    if larger and minimize:
        yield Finding("doubtful", output, "sounds as if larger were better: no --minimize then")


def _input(values: pd.Series, declared: bool) -> Iterator[Finding]:
    known = values.dropna()
    if declared or known.empty:
        return
    name, is_choice = str(values.name), _is_choice(known)
    problems = [] if is_choice or _numbers(known).isna().all() else list(_not_numbers(values))
    if problems:
        yield from problems
        return
    try:
        guess = column.infer(name, known)
    except SpaceError as error:
        yield Finding("wrong", name, str(error))
        return
    if column.choices(guess) is None:
        yield from _numeric(guess, _numbers(known))
    elif not is_choice and _numbers(known).notna().all():
        yield Finding(
            "doubtful",
            name,
            "holds numbers stored as text, which are taken for choices: convert them to numbers",
        )
    else:
        yield from _choices(name, known)


def _is_choice(values: pd.Series) -> bool:
    """Whether a column's type says that its values are choices, even if they look like numbers."""
    return pd.api.types.is_bool_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype)


def _numeric(guess: Input, values: pd.Series) -> Iterator[Finding]:
    name, steps = guess.name, np.diff(values.to_numpy())
    if values.nunique() == 1:
        message = f"is {values.iloc[0]:g} in all rows: it could be left out of the inputs"
        yield Finding("doubtful", name, message)
        return
    if len(values) > _FEW_ROWS and (steps == 1).all():
        yield Finding("doubtful", name, "counts the rows: leave it out of the inputs")
    if getattr(guess, "log", False):
        message = f"runs from {values.min():g} to {values.max():g}: a log scale is taken"
        yield Finding("note", name, message)


def _choices(name: str, values: pd.Series) -> Iterator[Finding]:
    count = values.nunique()
    if count == 1:
        message = f"is {values.iloc[0]!r} in all rows: it could be left out of the inputs"
        yield Finding("doubtful", name, message)
    elif count == len(values) > _FEW_ROWS:
        yield Finding(
            "doubtful",
            name,
            "has another text in each row, as a name or a date has: leave it out of the inputs",
        )
    elif count > _MANY_CHOICES:
        yield Finding("doubtful", name, f"has {count} choices: few runs will share one")


def _too_few(inputs: pd.DataFrame, labels: pd.Series) -> Iterator[Finding]:
    if len(labels) == 1:
        yield Finding("wrong", str(labels.name), "there is one run: more are needed")
    few = labels.is_unique or (labels.nunique() == 1 and len(labels) <= _FEW_OF_ONE_POINT)
    if len(labels) > 1 and few and inputs.duplicated()[1:].all():
        yield Finding(
            "wrong",
            str(inputs.columns[0]),
            "is the same in all runs, as all inputs are, and tasks have too few runs to tell them "
            "from noise: add runs at other points",
        )


def _tasks(labels: pd.Series) -> Iterator[Finding]:
    name, counts = str(labels.name), labels.astype(str).value_counts()
    if len(counts) < _FEW_TASKS:
        yield Finding(
            "doubtful",
            name,
            f"there are only {len(counts)} tasks: what they have in common can hardly be told",
        )
    short = counts[counts < _FEW_ROWS]
    if len(counts) == len(labels) > 1:
        message = "each row is a task of its own: is this the column that tells tasks apart?"
        yield Finding("doubtful", name, message)
    elif len(short):
        yield Finding(
            "doubtful",
            name,
            f"{len(short)} of {len(counts)} tasks have fewer than {_FEW_ROWS} rows, such as "
            f"{short.index[0]!r}: little can be learned from them",
        )
    alike = counts.index.str.strip().str.lower().duplicated()
    if alike.any():
        yield Finding(
            "doubtful",
            name,
            f"{counts.index[alike][0]!r} is written in more than one way: each is a task of its "
            "own",
        )


def _duplicates(frame: pd.DataFrame) -> Iterator[Finding]:
    again = frame.duplicated()
    if again.any():
        yield Finding(
            "doubtful",
            str(frame.columns[0]),
            f"{again.sum()} rows repeat another one in task, inputs and output, first in "
            f"{_line(again)}: were they measured twice, or copied?",
        )
