"""One input as a column of values: its ConfigSpace type, and its values as numbers and back.

A number stands for itself. A category stands as its index among the choices, and an ordinal value
as its rank, so that a point of any space is a row of numbers.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ConfigSpace import CategoricalHyperparameter, Constant, Float, Integer, OrdinalHyperparameter
from ConfigSpace.hyperparameters import (
    FloatHyperparameter,
    Hyperparameter,
    IntegerHyperparameter,
    NumericalHyperparameter,
)
from scipy.stats import kstest

if TYPE_CHECKING:
    from torch import Tensor

Input = Hyperparameter[Any, Any]

LOG_RATIO = 50.0
"""The least ratio of largest to smallest value for which a log scale is considered."""

LARGEST = 1e100
"""The largest number whose square can be computed with, with much to spare."""

MAX_SHOWN = 12
"""The most names or choices that an error message lists."""


class SpaceError(ValueError):
    """A value or an input name that does not fit the input space.

    Attributes:
        row: Which row is wrong, counted from 0, or None if the error is not about one row.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


def closest(name: object, names: Iterable[object]) -> str:
    """Words for an error message: what an unknown `name` may have meant, and the known names."""
    known = [str(known) for known in names]
    near = difflib.get_close_matches(str(name), known, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(repr(name) for name in known[:MAX_SHOWN])
    return f"{guess}there are: {shown}{', ...' if len(known) > MAX_SHOWN else ''}"


def is_number(value: object) -> bool:
    """Whether a value is a real number; booleans are categories here."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def choices(hyperparameter: Input) -> tuple[Any, ...] | None:
    """The values that an input's indices stand for, or None if its numbers stand for themselves."""
    if isinstance(hyperparameter, CategoricalHyperparameter):
        return tuple(hyperparameter.choices)
    if isinstance(hyperparameter, OrdinalHyperparameter):
        return tuple(hyperparameter.sequence)
    if isinstance(hyperparameter, Constant) and not is_number(hyperparameter.value):
        return (hyperparameter.value,)
    return None


def limits(hyperparameter: Input) -> tuple[float, float]:
    """The smallest and the largest number that an input takes."""
    listed = choices(hyperparameter)
    if listed is not None:
        return 0.0, float(len(listed) - 1)
    if isinstance(hyperparameter, Constant):
        return float(hyperparameter.value), float(hyperparameter.value)
    if isinstance(hyperparameter, NumericalHyperparameter):
        return float(hyperparameter.lower), float(hyperparameter.upper)
    raise SpaceError(
        f"input {hyperparameter.name!r} is a {type(hyperparameter).__name__}: "
        "use a float, integer, categorical, ordinal or constant"
    )


def to_numbers(hyperparameter: Input, values: Sequence[Any] | pd.Series) -> Tensor:
    """Turn an input's values (a column of n) into n numbers.

    Raises:
        SpaceError: If a value is missing, not a number, or not one of the choices. Ranges are not
            checked here.
    """
    import torch  # here, since a look through a table of earlier runs needs none

    name, listed = hyperparameter.name, choices(hyperparameter)
    values = list(values)
    if listed is not None:
        index = {value: i for i, value in enumerate(listed)}
        # A CSV file keeps no types: "3" or "True" is read as what it prints as.
        printed = {str(value): i for i, value in enumerate(listed)}
        numbers_ = np.array([_lookup(value, index, printed) for value in values], dtype=float)
        expected = "one of " + ", ".join(repr(value) for value in listed[:MAX_SHOWN])
    else:
        # A single point is read several times a suggestion, and pandas is slow to begin.
        plain = all(type(value) in (int, float) and abs(value) < LARGEST for value in values)
        column = values if plain else numbers_of(pd.Series(values, dtype=object))
        numbers_, expected = np.array(column, dtype=float), "a number"
    if np.isnan(numbers_).any():
        row = int(np.isnan(numbers_).argmax())
        missing = pd.Series(values[row : row + 1], dtype=object).isna()[0]
        value = "missing" if missing else repr(values[row])
        raise SpaceError(f"row {row}: input {name!r} is {value}; it must be {expected}", row=row)
    return torch.tensor(numbers_, dtype=torch.float64)


def numbers_of(values: pd.Series) -> np.ndarray:
    """The numbers in a column, `n` floats: NaN where there is none, infinite if too large.

    Dates, durations and complex values are no numbers.
    """
    if values.dtype.kind in "mMc" or isinstance(values.dtype, pd.PeriodDtype):
        return np.full(len(values), np.nan)
    try:
        found = pd.to_numeric(values, errors="coerce")
    except OverflowError:  # whole numbers of hundreds of digits
        found = pd.to_numeric(values.map(_as_float), errors="coerce")
    if found.dtype.kind == "c":
        return numbers_of(values.map(lambda value: None if _is_complex(value) else value))
    numbers_: np.ndarray = found.to_numpy(dtype=float, na_value=np.nan)
    return numbers_


def _is_complex(value: object) -> bool:
    return isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real)


def _as_float(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, int) else value
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _lookup(value: Any, index: dict[Any, int], printed: dict[str, int]) -> float:
    if isinstance(value, Hashable) and value in index:
        return float(index[value])
    return float(printed.get(str(value), math.nan))


def to_values(hyperparameter: Input, column: Tensor) -> list[Any]:
    """Turn n numbers into an input's values: int, float, or the category as it was given."""
    listed = choices(hyperparameter)
    if listed is not None:
        return [listed[round(number)] for number in column.tolist()]
    if isinstance(hyperparameter, Constant):
        return [hyperparameter.value] * len(column)
    if isinstance(hyperparameter, IntegerHyperparameter):
        return [round(number) for number in column.tolist()]
    return [float(number) for number in column.tolist()]


def infer(name: str, values: pd.Series) -> Input:
    """Find the type and range of an input from the values that it took.

    Strings, booleans and pandas categories are categorical (ordered categories: ordinal); a column
    of whole numbers is an integer, other numbers are floats, both over the range seen; one number
    alone is a constant.

    Raises:
        SpaceError: If a value is missing, infinite, or neither a number nor a category.
    """
    column = values.reset_index(drop=True)
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise SpaceError(f"row {row}: input {name!r} is missing; fill it in or drop it", row=row)
    if column.empty:
        raise SpaceError(f"input {name!r} has no values to infer its range from; declare a space")
    if isinstance(column.dtype, pd.CategoricalDtype):
        listed = [_plain(value) for value in column.cat.categories]
        kind = OrdinalHyperparameter if column.cat.ordered else CategoricalHyperparameter
        return kind(name, listed)
    plain = [_plain(value) for value in column.drop_duplicates()]
    if all(is_number(value) for value in plain):
        return _numeric(name, np.sort(numbers_of(pd.Series(plain, dtype=object))))
    if all(isinstance(value, str | bool) or is_number(value) for value in plain):
        listed = sorted(plain, key=lambda value: (str(type(value)), value))
        return CategoricalHyperparameter(name, listed)
    given = type(plain[0]).__name__
    raise SpaceError(f"input {name!r} holds {given} values; turn them into numbers or strings")


def interval(
    name: str, low: float, high: float, *, integer: bool = False, log: bool = False
) -> Input:
    """A float or integer input over [low, high].

    Raises:
        SpaceError: If the range is empty, not finite, or finer than ConfigSpace can hold.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SpaceError(
            f"input {name!r} has the range [{low:g}, {high:g}]; give a finite lower < upper bound"
        )
    if max(abs(low), abs(high)) > LARGEST:
        raise SpaceError(
            f"input {name!r} has the range [{low:g}, {high:g}], too large to compute with; choose "
            "another unit"
        )
    if log and low <= 0:
        raise SpaceError(
            f"input {name!r} has the range [{low:g}, {high:g}] on a log scale: give a lower bound "
            "above 0, or no log scale"
        )
    try:
        if integer:
            return Integer(name, (int(low), int(high)), log=log)
        return Float(name, (float(low), float(high)), log=log)
    except ValueError as error:  # ConfigSpace rounds bounds to 13 decimals
        raise SpaceError(
            f"input {name!r} has the range [{low}, {high}], too narrow to hold; rescale the input"
        ) from error


def _numeric(name: str, values: np.ndarray) -> Input:
    """A range or constant from sorted unique values."""
    if not np.isfinite(values).all():
        raise SpaceError(
            f"input {name!r} holds an infinite value; remove those rows or clip the value"
        )
    integer = bool((values == np.round(values)).all() and np.abs(values).max() < 2**53)
    if len(values) == 1:
        return Constant(name, int(values[0]) if integer else float(values[0]))
    return interval(name, values[0], values[-1], integer=integer, log=_is_log(values))


def _is_log(values: np.ndarray) -> bool:
    """Whether sorted unique values are nearer (Kolmogorov-Smirnov) to log-uniform than uniform."""
    if values[0] <= 0 or values[-1] / values[0] < LOG_RATIO:
        return False
    return _distance_to_uniform(np.log(values)) < _distance_to_uniform(values)


def _distance_to_uniform(values: np.ndarray) -> float:
    return float(kstest((values - values[0]) / (values[-1] - values[0]), "uniform").statistic)


def _plain(value: Any) -> Any:
    """A NumPy scalar as the Python value that JSON can hold."""
    return value.item() if isinstance(value, np.generic) else value


def is_float(hyperparameter: Input) -> bool:
    """Whether any number in the range is legal, not only whole ones."""
    number = isinstance(hyperparameter, Constant) and choices(hyperparameter) is None
    return number or isinstance(hyperparameter, FloatHyperparameter)
