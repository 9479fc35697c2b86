"""What a study's earlier trials say, as a surrogate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import torch
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from metabo.column import LARGEST
from metabo.integrations.optuna.distributions import point
from metabo.optimizer import PriorCollapsedWarning, has_collapsed, to_ask
from metabo.prior import Prior
from metabo.space import InputSpace, SpaceError
from metabo.surrogates.kriging_believer import believe
from metabo.surrogates.mixture_prior_gp import MixturePriorGP

PROPOSED = "metabo:proposed"
"""The system attribute of a trial that holds its point, by input, in the Prior's units."""


@dataclass(frozen=True, eq=False)
class History:
    """The trials that are points of a Prior's space.

    Attributes:
        X: `n x d`, complete trials, in the Prior's units.
        values: `n x 1`, theirs, as the user has them.
        X_running: `p x d`, trials without a value yet.
        X_failed: `f x d`, trials that have none that counts.
    """

    X: Tensor
    values: Tensor
    X_running: Tensor
    X_failed: Tensor

    @classmethod
    def of(cls, study: Study, space: InputSpace, *, without: int) -> Self:
        """A study's trials, `without` the one of that number."""
        X: list[Tensor] = []
        values: list[float] = []
        X_running: list[Tensor] = []
        X_failed: list[Tensor] = []
        for trial in study.get_trials(deepcopy=False):
            x = None if trial.number == without else _point(space, trial)
            if x is None:
                continue
            if _has_value(trial):
                X.append(x)
                values.append(trial.values[0])
            else:
                (X_running if trial.state == TrialState.RUNNING else X_failed).append(x)
        others = _rows(X_running, space), _rows(X_failed, space)
        return cls(_rows(X, space), _column(values), *others)

    def surrogate(self, prior: Prior, *, maximize: bool) -> MixturePriorGP:
        """The model, given what is known and what must be assumed, as in the `Optimizer`.

        Larger is better.
        """
        if maximize == prior.minimize:
            prior = prior.negated()
        model = MixturePriorGP(self.X, self.values if maximize else -self.values, prior)
        if has_collapsed(model, len(self.X)):
            _warn(len(self.X), float(model.prior_weight))
            model = model.with_fitted_broad()
        return believe(to_ask(model, len(self.X)), self.X_running, self.X_failed, None)


def _point(space: InputSpace, trial: FrozenTrial) -> Tensor | None:
    """Where a trial is or, if it has not all its parameters yet, where it was proposed to be."""
    try:
        return point(space, trial)
    except SpaceError:
        row = trial.system_attrs.get(PROPOSED, {})
        if trial.state != TrialState.RUNNING or row.keys() != set(space.names):
            return None
        return torch.tensor([row[name] for name in space.names], dtype=torch.float64)


def _has_value(trial: FrozenTrial) -> bool:
    """Whether a trial's value counts: complete, feasible, not too large to compute with."""
    if trial.state != TrialState.COMPLETE or not abs(trial.values[0]) <= LARGEST:
        return False
    return all(value <= 0 for value in trial.constraints.values())


def _rows(points: list[Tensor], space: InputSpace) -> Tensor:
    return torch.stack(points) if points else torch.empty(0, space.dim, dtype=torch.float64)


def _column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).unsqueeze(-1)


def _warn(count: int, weight: float) -> None:
    warnings.warn(
        f"after {count} trials the probability that this study is of the Prior's family is "
        f"{weight:.2g}: proposals rest on an ordinary Gaussian process that is fitted to these "
        "trials alone. Check the units, and whether the Prior is for this kind of study",
        PriorCollapsedWarning,
        stacklevel=6,
    )
