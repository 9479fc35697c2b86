"""How the next points of a session are chosen: what promises most, and where to look for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from botorch.acquisition import AcquisitionFunction
from torch import Tensor

from metabo.acquisition_search import ExhaustedError, search_space
from metabo.candidates import Candidates
from metabo.constraint import Constraint, LogFeasibleImprovement
from metabo.objective import Objective
from metabo.prior import Prior
from metabo.session import Session, meant
from metabo.session_models import SessionModels
from metabo.surrogates.incumbent_improvement import LogIncumbentImprovement
from metabo.surrogates.kriging_believer import believe
from metabo.surrogates.mixture_prior_gp import MixturePriorGP


class Proposer:
    """Chooses points by the expected improvement, one after the other.

    Args:
        prior: Of the response.
        session: What was told, is pending or has failed.
        constraints: The further outputs that are constrained, by name.
        candidates: What may be proposed; anything in the prior's space if None.
        seed: Decides every random choice.
    """

    def __init__(
        self,
        prior: Prior,
        session: Session,
        constraints: Mapping[str, Constraint],
        candidates: Candidates | None,
        seed: int,
    ) -> None:
        self.models = SessionModels(prior, constraints, session)
        self._prior, self._session, self._seed = prior, session, seed
        self._constraints, self._candidates = list(constraints.values()), candidates

    def propose(
        self, count: int, fixed: Mapping[str, Any], objective: Objective | None, met: Tensor
    ) -> Tensor:
        """The next points, `count x d`.

        Args:
            count: How many, to evaluate side by side.
            fixed: Inputs that must have a value, by name.
            objective: What to maximise, as a function of the response in the Prior's units.
            met: Which observations, `n`, met all constraints.

        Raises:
            ExhaustedError: If fewer points than that are left.
            SpaceError: If a fixed input is unknown or its value not legal.
            ValueError: If the objective is undefined.
        """
        columns, pending = self._columns(fixed), self._session.pending
        response, others = self.models.of_response, self.models.of_constraints
        model = self.models.to_ask(response)
        for _ in range(count):
            believing = believe(model, pending, self._session.failed, objective)
            acquisition = self._acquisition(believing, others, objective, met)
            point = self._best(acquisition, torch.cat([pending, self._session.failed]), columns)
            pending = torch.cat([pending, point[None]])
        return pending[len(self._session.pending) :]

    def _columns(self, fixed: Mapping[str, Any]) -> dict[int, float]:
        """The fixed inputs by column, checked."""
        if not fixed:
            return {}
        space = self._prior.space
        anywhere = space.to_dicts(space.sample(1, seed=0))[0]
        values = space.snap(space.to_tensor({**anywhere, **fixed}))[0].tolist()
        return {space.names.index(name): values[space.names.index(name)] for name in fixed}

    def _acquisition(
        self,
        model: MixturePriorGP,
        others: list[MixturePriorGP],
        objective: Objective | None,
        met: Tensor,
    ) -> AcquisitionFunction:
        improvement = LogIncumbentImprovement(
            model,
            objective=objective,
            X_evaluated=self._session.X[met] if self._constraints else None,
            measured_once=self._candidates is not None,  # each is proposed once
            seed=self._seed,
        )
        if not self._constraints:
            return improvement
        return LogFeasibleImprovement(improvement, self._constraints, others)

    def _best(
        self, acquisition: AcquisitionFunction, taken: Tensor, fixed: dict[int, float]
    ) -> Tensor:
        """The point, `d`, where an acquisition function is largest, of those not taken."""
        if self._candidates is not None:
            return self._best_candidate(self._candidates, acquisition, taken, fixed)
        space, known = self._prior.space, self._prior.known_points
        point = search_space(
            acquisition,
            space,
            self._session.X,
            seed=self._seed + len(self._session.Y) + len(taken),
            fixed=fixed,
            X_taken=taken,
            X_known=known,
        )
        # Beside a known point its effect counts, too: what is meant is the point itself.
        same = None if fixed else meant(space, known, point)
        return point if same is None else known[same]

    def _best_candidate(
        self,
        candidates: Candidates,
        acquisition: AcquisitionFunction,
        taken: Tensor,
        fixed: dict[int, float],
    ) -> Tensor:
        left = candidates.left(torch.cat([self._session.X, taken]), fixed)
        if len(left) == 0:
            which = " with these fixed inputs" if fixed else ""
            raise ExhaustedError(
                f"all {len(candidates)} candidates{which} have been evaluated, have failed "
                "or are pending"
            )
        return candidates.best(acquisition, left)
