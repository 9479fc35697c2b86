"""The surrogates of one session, and what takes their place where the evidence leaves a Prior."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from metabo.constraint import Constraint
from metabo.prior import Prior
from metabo.session import Session
from metabo.surrogates.mixture_prior_gp import MixturePriorGP

_COLLAPSED = 0.1  # with less of the posterior on the Prior, the broad part is fitted to the task
# A Prior may be too sure of what nobody has looked at, and then nobody will. So after so many
# observations every fifth point is asked for without it; before, each is worth too much.
_ALONE_FROM, _ALONE_EVERY = 20, 5
_CALLER = 6  # frames up from the warning: who calls a method of the Optimizer


class PriorCollapsedWarning(UserWarning):
    """The observations say that the task is not of the Prior's family."""


def has_collapsed(model: MixturePriorGP, num_observations: int) -> bool:
    """Whether observations say that the task is not of the Prior's family; one alone cannot."""
    return num_observations >= 2 and float(model.prior_weight) <= _COLLAPSED


def to_ask(model: MixturePriorGP, num_observations: int) -> MixturePriorGP:
    """What the next point is chosen by: the model or, at times, an ordinary GP alone."""
    if num_observations < _ALONE_FROM or num_observations % _ALONE_EVERY:
        return model
    if not model.prior.mixture.is_broad.any() or has_collapsed(model, num_observations):
        return model
    return model.alone()


class SessionModels:
    """The surrogates given what was told, each made once after a tell.

    Where the observations speak against a Prior, its broad part is fitted to them; a
    `PriorCollapsedWarning` says so, once for each output.

    Args:
        prior: Of the response.
        constraints: The further outputs that are constrained, by name.
        session: What was told.
    """

    def __init__(
        self, prior: Prior, constraints: Mapping[str, Constraint], session: Session
    ) -> None:
        self._prior, self._constraints, self._session = prior, constraints, session
        self._warned: set[str | None] = set()
        self._made: dict[str | None, tuple[Tensor, MixturePriorGP]] = {}
        self._asked: tuple[MixturePriorGP, MixturePriorGP] | None = None

    @property
    def of_response(self) -> MixturePriorGP:
        """In the Prior's units, where larger is better."""
        session, sign = self._session, self._prior.sign
        return self._of(None, lambda: MixturePriorGP(session.X, sign * session.Y, self._prior))

    def to_ask(self, model: MixturePriorGP) -> MixturePriorGP:
        """What the next point is chosen by, where `model` is that of the response."""
        if self._asked is None or self._asked[0] is not model:  # a fit for each tell, not each ask
            self._asked = model, to_ask(model, len(self._session.Y))
        return self._asked[1]

    @property
    def of_constraints(self) -> list[MixturePriorGP]:
        """Those of the constrained outputs, in their order."""
        found = []
        pairs = zip(self._constraints.items(), self._session.others.T, strict=True)
        for (name, constraint), values in pairs:
            build = partial(constraint.surrogate, self._session.X, values)
            found.append(self._of(name, build))
        return found

    def _of(self, output: str | None, build: Callable[[], MixturePriorGP]) -> MixturePriorGP:
        """The model of a constrained output, or of the response if None."""
        told, model = self._made.get(output, (None, None))
        if model is None or told is not self._session.Y:  # which each tell replaces
            model = build()
            if has_collapsed(model, len(self._session.Y)):
                self._warn(output, float(model.prior_weight))
                model = model.with_fitted_broad()
            self._made[output] = self._session.Y, model
        return model

    def _warn(self, output: str | None, prior_weight: float) -> None:
        if output in self._warned:
            return
        self._warned.add(output)
        what = "this task" if output is None else f"the constrained output {output!r}"
        warnings.warn(
            f"after {len(self._session.Y)} observations the probability that {what} is of the "
            f"Prior's family is {prior_weight:.2g}: proposals rest on an ordinary Gaussian process "
            "that is fitted to these observations alone. Check the units, and whether the "
            f"Prior is for this kind of {'task' if output is None else 'output'}",
            PriorCollapsedWarning,
            stacklevel=_CALLER,
        )
