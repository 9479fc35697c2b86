"""How a response depends on one input while the others stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metabo.space import InputSpace
from metabo.surrogates import MixturePriorGP

_GRID = 61
_BAND = torch.tensor([0.05, 0.95], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Slice:
    """A response along one input, in the user's units.

    Attributes:
        name: Of the input.
        values: `g`, where: numbers, or the indices of choices.
        choices: What these stand for; None of numbers.
        is_log: Whether the input is on a log scale.
        mean: `g`.
        low: `g`, with `high` a 90% interval of the function.
        high: `g`.
        draws: `s x g`, functions that are likely.
    """

    name: str
    values: Tensor
    choices: tuple[Any, ...] | None
    is_log: bool
    mean: Tensor
    low: Tensor
    high: Tensor
    draws: Tensor


def slices(model: MixturePriorGP, at: Tensor, *, sign: float, num_draws: int = 0) -> list[Slice]:
    """One for each input that varies.

    Args:
        model: The surrogate.
        at: `d`, the point that the others stay at.
        sign: -1 where the Prior has learned the negative of the user's output.
        num_draws: How many functions to draw, always the same ones.
    """
    space = model.prior.space
    found = []
    for i, values in _axes(space):
        X = at.repeat(len(values), 1)
        X[:, i] = values
        posterior = model.mixture_posterior(X, model.conditioned, False)
        low, high = (sign * posterior.quantile(_BAND).squeeze(-1)).sort(0).values
        with torch.random.fork_rng():
            torch.manual_seed(0)
            draws = sign * posterior.rsample(torch.Size([num_draws])).squeeze(-1)
        name = space.names[i]
        found.append(
            Slice(
                name=name,
                values=values,
                choices=space.categories.get(name),
                is_log=i in space.log_dims,
                mean=sign * posterior.mean.squeeze(-1),
                low=low,
                high=high,
                draws=draws,
            )
        )
    return found


def _axes(space: InputSpace) -> Iterator[tuple[int, Tensor]]:
    """Each input that varies, and values along it."""
    steps = torch.linspace(0, 1, _GRID, dtype=torch.float64)
    for i in range(space.dim):
        values = space.from_unit(steps.unsqueeze(-1).expand(-1, space.dim))[:, i].unique()
        if len(values) > 1:
            yield i, values


def average(model: MixturePriorGP, *, sign: float, num_values: int = 16) -> dict[str, Tensor]:
    """What is expected along each input that varies, on average over the others.

    Returns:
        For each input its `g <= num_values` expectations, from its lowest value to its highest.
    """
    space = model.prior.space
    others = space.sample(64, seed=0)
    found = {}
    for i, values in _axes(space):
        chosen = values[torch.linspace(0, len(values) - 1, min(num_values, len(values))).long()]
        X = others.repeat(len(chosen), 1, 1)
        X[..., i] = chosen.unsqueeze(-1)
        expected = model.mixture_posterior(X.flatten(0, 1), model.conditioned, False).mean
        found[space.names[i]] = sign * expected.reshape(len(chosen), -1).mean(-1)
    return found
