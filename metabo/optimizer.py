"""Ask and tell: proposes the next points to evaluate, takes the measured values."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Self, overload

import pandas as pd
import torch
from torch import Tensor

from metabo.candidates import Candidates
from metabo.constraint import Constraint
from metabo.cores import one_thread
from metabo.measured import measured
from metabo.objective import Defined, Objective, OfNegative, negative, response
from metabo.prior import Prior
from metabo.proposer import Proposer
from metabo.session import Session
from metabo.session_models import PriorCollapsedWarning, has_collapsed, to_ask
from metabo.space import InputSpace, SpaceError
from metabo.surrogates.mixture_prior_gp import MixturePriorGP

__all__ = ["Expected", "Optimizer", "PriorCollapsedWarning", "has_collapsed", "to_ask"]

_MANY = 500  # observations: the products of more are worth several threads


class Expected(NamedTuple):
    """What a measurement will give, in the user's units: the mean, and a 90% interval."""

    mean: float
    low: float
    high: float


class Optimizer:
    """Few-shot Bayesian optimisation that starts from a Prior: no random points first.

    A suggestion is *pending* from when it is asked for until it is told. Proposals avoid pending
    points: they are made as if the model's expectation had been measured there. A failed
    evaluation is taken for as bad as the model's 90% interval allows (`believe`). From twenty
    observations on, every fifth proposal is by an ordinary Gaussian process of the task alone.

    Args:
        prior: From `metabo.meta_train` or `Prior.load`.
        seed: Decides every random choice.
        candidates: What may be proposed, each at most once: `N x d` in the user's units, a data
            frame or a list of dicts. Anything in the prior's space if None.
        objective: What to maximise, as a function of the response (`... x q x 1`) and of the
            point (`... x q x d`), both in the user's units; the response itself if None. Faster if
            it says that it is affine in the response: `metabo.objective.affine`. It has to be a
            number, not NaN, of every response: the model takes all for possible.
        minimize: Whether a smaller response is better; what the Prior was trained with if None. It
            cannot be combined with an objective, which is always maximised.
        journal: A file that keeps the session: whatever is asked and told is on the disk before
            the call returns. A session whose journal exists goes on where it ended, by crash or
            not. Candidates and objective are not in it: give the same ones again. While it is in
            use it is locked, by a file beside it that ends in `.lock`.
        constraints: What further outputs have to be, {output name: Constraint}. Each observation
            is told with all of them.

    Raises:
        SpaceError: If a candidate is outside the prior's space, or a constraint has another space.
        ValueError: If there are no candidates, or `minimize` is given together with an objective.
        JournalError: If the journal is broken, of a session with another prior, seed or direction,
            or in use by another process.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        seed: int = 0,
        candidates: Tensor | pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
        objective: Objective | None = None,
        minimize: bool | None = None,
        journal: str | os.PathLike[str] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
    ) -> None:
        if objective is not None and minimize:
            raise ValueError("an objective is always maximised: negate it instead of minimize=True")
        # On the CPU, as what is told: the work of a session is too little for another device.
        self.prior = prior if prior.device.type == "cpu" else prior.to("cpu")
        self.seed = int(seed)  # NumPy's numbers cannot be written to a journal
        self.minimize = bool(prior.minimize if minimize is None else minimize)
        self.objective = objective if objective is not None else self._sign_objective()
        choices = None if candidates is None else Candidates(prior.space, candidates)
        self.constraints = _checked(prior.space, constraints or {})
        identity = {"prior": prior.digest, "seed": self.seed, "minimize": self.minimize}
        if self.constraints:
            identity["constraints"] = {
                name: [c.prior.digest, str(float(c.low)), str(float(c.high))]
                for name, c in self.constraints.items()
            }
        self._session = Session(prior.space, journal, identity, list(self.constraints))
        self._proposer = Proposer(self.prior, self._session, self.constraints, choices, self.seed)

    def close(self) -> None:
        """Let others open the journal."""
        if self._session.journal is not None:
            self._session.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _sign_objective(self) -> Objective | None:
        """An objective for a user who wants the opposite of what the Prior was trained for."""
        if self.minimize == self.prior.minimize:
            return None
        return negative if self.minimize else response

    @property
    def model(self) -> MixturePriorGP:
        """The surrogate given all observations so far.

        Where they speak against the Prior, its broad part is fitted to them; a
        `PriorCollapsedWarning` says so, once.
        """
        with self._threads():
            return self._proposer.models.of_response

    def _threads(self) -> AbstractContextManager[None]:
        """One thread, unless products are large.

        Beside work that keeps all cores busy, threads of small products wait for each other.
        """
        return one_thread() if len(self) < _MANY else nullcontext()

    def _observations(self) -> tuple[Tensor, Tensor]:
        """X, and Y in the Prior's units, where larger is better."""
        return self._session.X, self.prior.sign * self._session.Y

    def __len__(self) -> int:
        return len(self._session.Y)

    @property
    def pending(self) -> list[dict[str, Any]]:
        """What was asked for and not told yet, oldest first."""
        return self.prior.space.to_dicts(self._session.pending)

    @overload
    def ask(self, q: None = None, *, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]: ...

    @overload
    def ask(self, q: int, *, fixed: Mapping[str, Any] | None = None) -> list[dict[str, Any]]: ...

    def ask(
        self, q: int | None = None, *, fixed: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The next point to evaluate, {input name: value}, or a list of the q next.

        The points of a batch, and all points of a session with a journal, are pending from now on.
        A single point without a journal is not: asked again, the same is proposed.

        Args:
            q: How many, to evaluate side by side.
            fixed: Inputs that must have a value, {input name: value}.

        Raises:
            ExhaustedError: If fewer points than that are left.
            SpaceError: If a fixed input is unknown or its value not legal.
            ValueError: If q is not positive, or the objective is undefined.
        """
        if q is not None and q < 1:
            raise ValueError(f"q is {q}; ask for at least one point")
        with self._threads():
            points = self._proposer.propose(q or 1, fixed or {}, self._objective(), self.met)
        asked = self.prior.space.to_dicts(points)
        if q is not None or self._session.journal is not None:
            self._session.record("asked", *asked)
        return asked[0] if q is None else asked

    def tell(
        self,
        x: Mapping[str, Any],
        y: float | None = None,
        *,
        failed: bool = False,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """Take the measured response at a point, asked for or not.

        Args:
            x: The point.
            y: The response.
            failed: Whether the evaluation failed, so that there is none: the point is not proposed
                again. So is a suggestion that will not be evaluated.
            constraints: The further outputs there that are constrained, {name: measured value}.

        Raises:
            SpaceError: If x is not a point of the prior's space; the message names the input.
            ValueError: If a value is not a finite number, or is given though the evaluation failed,
                or a constrained output has none.
            OSError: If the journal cannot be written; nothing is told then.
        """
        if failed and y is not None:
            raise ValueError(f"a failed evaluation has no value; got {y!r} at {dict(x)}")
        if failed:
            self._session.record("failed", x)
            return
        others = dict(constraints or {})
        for name in self.constraints.keys() ^ others.keys():
            raise ValueError(
                f"the constrained outputs are {sorted(self.constraints)}, but {sorted(others)} "
                f"{'is' if len(others) == 1 else 'are'} told at {dict(x)}: {name!r} is one too "
                f"{'many' if name in others else 'few'}"
            )
        others = {name: measured(value, x, name) for name, value in others.items()}
        self._session.record("told", x, y=measured(y, x), constraints=others)

    def hold(self, x: Mapping[str, Any]) -> None:
        """Count a point that somebody is evaluating as pending, as if it had been asked for.

        Raises:
            SpaceError: If x is not a point of the prior's space.
        """
        self._session.record("asked", x)

    def expect(self, points: Sequence[Mapping[str, Any]]) -> list[Expected]:
        """What measurements will give, by the Prior and what has been told so far.

        Raises:
            SpaceError: If a point is not one of the prior's space.
        """
        X, model = self.prior.space.to_tensor(points), self.model
        posterior = model.mixture_posterior(X, model.conditioned, observation_noise=True)
        low, high = posterior.quantile(torch.tensor([0.05, 0.95]))
        if self.prior.sign < 0:
            low, high = high, low
        columns = self.prior.sign * torch.cat([posterior.mean, low, high], dim=-1)
        return [Expected(*row) for row in columns.tolist()]

    @property
    def observations(self) -> tuple[Tensor, Tensor]:
        """What was told so far, `n x d` and `n x 1`, in the user's units; copies."""
        return self._session.X.clone(), self._session.Y.clone()

    @property
    def constrained(self) -> Tensor:
        """The constrained outputs that were told with it, `n x m`; a copy."""
        return self._session.others.clone()

    @property
    def met(self) -> Tensor:
        """Which observations, `n`, met all constraints."""
        met = torch.ones(len(self), dtype=torch.bool)
        for constraint, values in zip(
            self.constraints.values(), self._session.others.T, strict=True
        ):
            met &= constraint.met(values)
        return met

    def best(self) -> tuple[dict[str, Any], float]:
        """The evaluated point with the best measured value, and its response as it was told.

        Of those that met the constraints, if there are any.

        Raises:
            RuntimeError: If nothing has been told yet, or no observation met the constraints.
            ValueError: If the objective of one is undefined.
        """
        if len(self) == 0:
            raise RuntimeError(
                "nothing has been told yet: ask for a point, measure it and tell the value"
            )
        objective = self._objective()
        X, Y = self._observations()
        if not self.met.any():
            raise RuntimeError("no observation has met the constraints yet")
        values = Y.squeeze(-1) if objective is None else objective(Y, X)
        row = int(values.masked_fill(~self.met, -math.inf).argmax())
        return self.prior.space.to_dicts(X[row : row + 1])[0], float(self._session.Y[row])

    def _objective(self) -> Objective | None:
        """The objective as a function of the response in the Prior's units."""
        if self.objective is None:
            return None
        defined = Defined(self.objective)
        return defined if self.prior.sign > 0 else OfNegative(defined)


def _checked(space: InputSpace, constraints: Mapping[str, Constraint]) -> dict[str, Constraint]:
    for name, constraint in constraints.items():
        if constraint.prior.space != space:
            raise SpaceError(
                f"the constraint on {name!r} has a prior of other inputs or ranges: train it on "
                "the same runs, or with the same space"
            )
    return dict(constraints)
