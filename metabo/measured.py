"""A measured value as it may be told: one finite number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metabo.column import LARGEST


def measured(y: Any, x: Mapping[str, Any], name: str = "y") -> float:
    """The value of an output at a point, checked.

    Args:
        y: A number, or what has one item: a tensor, an array, one of NumPy's numbers.
        x: The point, for the message.
        name: The output, likewise.

    Raises:
        ValueError: If it is not one finite number, or is too large to compute with.
    """
    try:
        number = _number(y.item() if hasattr(y, "item") else y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be one number; got {y!r} at {dict(x)}") from error
    if LARGEST < abs(number) < math.inf:
        raise ValueError(
            f"{name} is {number:g} at {dict(x)}, too large to compute with: choose another unit"
        )
    if not math.isfinite(number):
        raise ValueError(
            f"{name} is {number} at {dict(x)}: tell a failed evaluation as tell(x, failed=True)"
        )
    return number


def _number(y: Any) -> float:
    if not hasattr(y, "__float__"):  # as text, which may be that of a number
        raise TypeError
    try:
        return float(y)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf
