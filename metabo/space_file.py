"""Inputs declared by hand: a JSON object, {input: what it is}, for some of a table's columns.

{"rate": {"low": 1e-5, "high": 1, "log": true}, "depth": {"low": 1, "high": 12, "integer": true},
"kernel": ["rbf", "linear"]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace

from metabo import column
from metabo.column import Input, SpaceError, closest

if TYPE_CHECKING:
    from metabo.space import InputSpace

_OPTIONS = {"low", "high", "log", "integer"}


def read_declarations(path: Path) -> dict[str, Any]:
    """Read the file.

    Raises:
        OSError: If it cannot be read.
        SpaceError: If it is not a JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SpaceError(f'{path} must hold {{"input": {{"low": 0, "high": 1}}, ...}}')
    return found


def declared_space(
    frame: pd.DataFrame, inputs: Sequence[str], declarations: Mapping[str, Any]
) -> InputSpace:
    """The inputs as declared; those that are not, as the table's values tell.

    Raises:
        SpaceError: If a declaration is of no input or makes no sense.
    """
    from metabo.space import InputSpace  # here, since to read a file needs no PyTorch

    for name in declarations:
        if name not in inputs:
            raise SpaceError(f"{name!r} is declared but no input: {closest(name, inputs)}")
    space = ConfigurationSpace()
    space.add(
        [
            _declared(name, declarations[name])
            if name in declarations
            else column.infer(name, frame[name])
            for name in inputs
        ]
    )
    return InputSpace(space, inputs)


def _declared(name: str, declaration: Any) -> Input:
    if isinstance(declaration, list) and declaration:
        try:
            if not all(isinstance(value, str | bool | int | float) for value in declaration):
                raise TypeError("they must be texts, numbers, true or false")
            return CategoricalHyperparameter(name, declaration)
        except (TypeError, ValueError) as error:
            raise SpaceError(f"the choices of {name!r} are {declaration}: {error}") from error
    if not isinstance(declaration, dict) or not {"low", "high"} <= set(declaration) <= _OPTIONS:
        raise SpaceError(
            f"{name!r} is declared as {declaration!r}: give a list of choices, or low and high "
            "and, if so, log and integer as true"
        )
    low, high = declaration["low"], declaration["high"]
    if not (column.is_number(low) and column.is_number(high)):
        raise SpaceError(f"the range of {name!r} is {low!r} to {high!r}: give numbers")
    options = {key: declaration.get(key, False) for key in ("integer", "log")}
    for key, value in options.items():
        if not isinstance(value, bool):
            raise SpaceError(
                f"{key!r} of {name!r} is {json.dumps(value)}: write true or false, without quotes"
            )
    return column.interval(name, low, high, **options)
