"""What a trial may still choose, as a space to search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, Constant
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from torch import Tensor

from metabo.column import Input, interval
from metabo.integrations.optuna.distributions import as_input, ends, numbers
from metabo.space import InputSpace


class TrialSpace:
    """The part of a Prior's space that the distributions of a trial leave.

    A choice is its index and a stepped number the count of its steps, so that every point of
    `inputs` is legal in the trial.

    Args:
        prior_space: What the points are mapped to.
        distributions: By name; an input without one has the Prior's own range.

    Raises:
        SpaceError: If a distribution has values that the Prior does not know.
    """

    def __init__(
        self, prior_space: InputSpace, distributions: Mapping[str, BaseDistribution]
    ) -> None:
        self.names, self.distributions = prior_space.names, dict(distributions)
        self._tables: dict[int, Tensor] = {}
        own = prior_space.configuration_space
        parts: list[tuple[Input, float, float]] = []
        for i, name in enumerate(self.names):
            if name not in distributions:
                parts.append((own[name], 0.0, 1.0))
                continue
            known = numbers(prior_space, name, distributions[name])
            if isinstance(distributions[name], CategoricalDistribution):
                self._tables[i] = known
            parts.append(_searchable(name, distributions[name]))
        space = ConfigurationSpace()
        space.add([part[0] for part in parts])
        self.inputs = InputSpace(space, self.names)
        self._offset, self._step = torch.tensor([part[1:] for part in parts], dtype=torch.float64).T

    def to_prior(self, X: Tensor) -> Tensor:
        """Points (`... x d`) in the Prior's units; differentiable in the numeric inputs."""
        columns = list((self._offset + self._step * X).unbind(-1))
        for i, table in self._tables.items():
            columns[i] = table[columns[i].round().long()]
        return torch.stack(columns, -1)

    def nearest(self, X: Tensor) -> Tensor:
        """The legal points (`n x d`) nearest to points in the Prior's units."""
        X = X.clone()
        for i, table in self._tables.items():
            X[:, i] = (X[:, i : i + 1] - table).abs().argmin(-1).to(X)
        return self.inputs.snap((X - self._offset) / self._step)

    def to_params(self, X: Tensor) -> dict[str, Any]:
        """The values of the parameters with a distribution at a point (`d`)."""
        values = dict(zip(self.names, (self._offset + self._step * X).tolist(), strict=True))
        return {name: _value(name, d, values[name]) for name, d in self.distributions.items()}


def _searchable(name: str, distribution: BaseDistribution) -> tuple[Input, float, float]:
    """An input to search, and which offset and step lead from it to the values."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalHyperparameter(name, list(range(len(distribution.choices)))), 0.0, 1.0
    low, high, step = ends(name, distribution)
    if distribution.single():
        return Constant(name, 0), low, 1.0
    if step is None or (step == 1 and isinstance(distribution, IntDistribution)):
        return as_input(name, distribution), 0.0, 1.0
    return interval(name, 0, round((high - low) / step), integer=True), low, step


def _value(name: str, distribution: BaseDistribution, number: float) -> Any:
    """The value of a parameter, as Optuna has it."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[round(number)]
    low, high, _ = ends(name, distribution)
    number = min(max(number, low), high)  # ConfigSpace rounds bounds to 13 decimals
    return round(number) if isinstance(distribution, IntDistribution) else number
