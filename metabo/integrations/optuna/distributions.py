"""From Optuna's distributions to the inputs of a Prior."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from ConfigSpace import CategoricalHyperparameter, Constant
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial
from torch import Tensor

from metabo.column import Input, closest, interval
from metabo.space import InputSpace, SpaceError


def as_input(name: str, distribution: BaseDistribution) -> Input:
    """The input that a parameter is, over its whole range; the step of a float is left out.

    Raises:
        SpaceError: If the range is finer than ConfigSpace can hold, or the kind is unknown.
    """
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalHyperparameter(name, list(distribution.choices))
    low, high, _ = ends(name, distribution)
    if distribution.single():
        return Constant(name, low)
    integer, log = isinstance(distribution, IntDistribution), getattr(distribution, "log", False)
    return interval(name, low, high, integer=integer, log=log)


def ends(name: str, distribution: BaseDistribution) -> tuple[float, float, float | None]:
    """The lowest and the highest value of a numeric distribution, and its step, if it has one.

    Raises:
        SpaceError: If it is not numeric.
    """
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        kind = type(distribution).__name__
        raise SpaceError(f"parameter {name!r} has a {kind}; use a float, int or categorical one")
    return distribution.low, distribution.high, distribution.step


@lru_cache(maxsize=4096)
def numbers(space: InputSpace, name: str, distribution: BaseDistribution) -> Tensor:
    """What a Prior's input has for each choice; of a numeric distribution, for some of its values.

    Raises:
        SpaceError: If the Prior does not know the parameter, or not all of its values; the message
            says which.
    """
    if name not in space.names:
        raise SpaceError(f"the Prior has no input {name!r}: {closest(name, space.names)}")
    column = space.names.index(name)
    start = space.to_dicts(space.bounds[:1])[0]
    rows = [start | {name: value} for value in _examples(space, name, distribution)]
    return space.to_tensor(rows)[:, column]


def _examples(space: InputSpace, name: str, distribution: BaseDistribution) -> list[Any]:
    """Values that are all legal for the Prior only if all others are, too."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if name in space.categories:
        raise SpaceError(
            f"input {name!r} is one of {list(space.categories[name])} for the Prior, "
            f"not a number: use suggest_categorical"
        )
    low, high, step = ends(name, distribution)
    # Not whole where fractions are legal, so that an input that must be whole refuses it.
    inside = low + step if step is not None else low + (high - low) / 3.0001
    return [low, min(inside, high), high]


def point(space: InputSpace, trial: FrozenTrial) -> Tensor:
    """A trial as a point (`d`) of a Prior's space; other parameters than the inputs are ignored.

    Raises:
        SpaceError: If an input is missing, or has a value or a range that the Prior does not know.
    """
    row = []
    for name in space.names:
        if name not in trial.params:
            raise SpaceError(f"trial {trial.number} has no parameter {name!r}, a Prior's input")
        distribution = trial.distributions[name]
        known, value = numbers(space, name, distribution), trial.params[name]
        if isinstance(distribution, CategoricalDistribution):
            value = known[int(distribution.to_internal_repr(value))]
        row.append(float(value))
    X = torch.tensor(row, dtype=torch.float64)
    space.check(X, name=f"trial {trial.number}")
    return X
