"""Ask and tell: proposes the next point to evaluate, takes the measured value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.exceptions.warnings import OptimizationWarning
from botorch.generation.gen import gen_candidates_scipy
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor

from metabo.objective import Objective
from metabo.prior import Prior
from metabo.space import InputSpace
from metabo.surrogates.incumbent_improvement import LogIncumbentImprovement
from metabo.surrogates.mixture_prior_gp import MixturePriorGP

_POOL = 2048  # quasi-random points that the search for the next point starts from
_STARTS = 4  # of which so many are improved
_COLLAPSED = 0.1  # with less of the posterior on the Prior, the broad part is fitted to the task
_NEARBY = 128  # random changes of the best points so far, for inputs that have no gradient


class PriorCollapsedWarning(UserWarning):
    """The observations say that the task is not of the Prior's family."""


class Optimizer:
    """Few-shot Bayesian optimisation that starts from a Prior: no random points first.

    Args:
        prior: From `metabo.meta_train` or `Prior.load`.
        seed: Decides every random choice.
        candidates: What may be proposed, each at most once: `N x d` in the user's units, a data
            frame or a list of dicts. Anything in the prior's space if None.
        objective: What to maximise, as a function of the response (`... x q x 1`) and of the
            point (`... x q x d`), both in the user's units; the response itself if None.
        minimize: Whether a smaller response is better; what the Prior was trained with if None. It
            cannot be combined with an objective, which is always maximised.

    Raises:
        SpaceError: If a candidate is outside the prior's space.
        ValueError: If there are no candidates, or `minimize` is given together with an objective.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        seed: int = 0,
        candidates: Tensor | pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
        objective: Objective | None = None,
        minimize: bool | None = None,
    ) -> None:
        if objective is not None and minimize:
            raise ValueError("an objective is always maximised: negate it instead of minimize=True")
        self.prior = prior
        self.seed = seed
        self.minimize = prior.minimize if minimize is None else minimize
        self.objective = objective if objective is not None else self._sign_objective()
        self._candidates = None if candidates is None else _as_points(prior.space, candidates)
        self._warned = False
        self._X = torch.empty(0, prior.space.dim, dtype=torch.float64)
        self._Y = torch.empty(0, 1, dtype=torch.float64)

    def _sign_objective(self) -> Objective | None:
        """An objective for a user who wants the opposite of what the Prior was trained for."""
        if self.minimize == self.prior.minimize:
            return None
        sign = -1.0 if self.minimize else 1.0
        return lambda Y, X: sign * Y.squeeze(-1)

    @property
    def _sign(self) -> float:
        """The user's units to the Prior's: a Prior that minimises has learned the negative."""
        return -1.0 if self.prior.minimize else 1.0

    @property
    def model(self) -> MixturePriorGP:
        """The surrogate given all observations so far.

        Where they speak against the Prior, its broad part is fitted to them; a
        `PriorCollapsedWarning` says so, once.
        """
        model = MixturePriorGP(self._X, self._Y, self.prior)
        if len(self) < 2 or float(model.prior_weight) > _COLLAPSED:
            return model
        self._warn(float(model.prior_weight))
        return model.with_fitted_broad()

    def _warn(self, prior_weight: float) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"after {len(self)} observations the probability that this task is of the Prior's "
                f"family is {prior_weight:.2g}: proposals rest on an ordinary Gaussian process "
                "that is fitted to these observations alone. Check the units, and whether the "
                "Prior is for this kind of task",
                PriorCollapsedWarning,
                stacklevel=4,
            )

    def __len__(self) -> int:
        return len(self._Y)

    def ask(self) -> dict[str, Any]:
        """The next point to evaluate, {input name: value}.

        Raises:
            RuntimeError: If all candidates have been evaluated.
        """
        acquisition = LogIncumbentImprovement(
            self.model, objective=self._objective(), seed=self.seed
        )
        if self._candidates is None:
            best = search_space(acquisition, self.prior.space, self._X, seed=self.seed + len(self))
        else:
            best = self._best_candidate(acquisition)
        return self.prior.space.to_dicts(best.unsqueeze(0))[0]

    def tell(self, x: Mapping[str, Any], y: float) -> None:
        """Take the measured response at a point, asked for or not.

        Raises:
            SpaceError: If x is not a point of the prior's space; the message names the input.
            ValueError: If y is not a finite number.
        """
        if isinstance(y, Tensor):
            y = y.item()
        if not isinstance(y, (int, float)) and not hasattr(y, "__float__"):
            raise ValueError(f"y must be a number; got {y!r} at {dict(x)}")
        if not math.isfinite(float(y)):
            raise ValueError(f"y is {float(y)} at {dict(x)}: leave failed evaluations out")
        row = self.prior.space.to_tensor(x)
        self.prior.space.check(row, name="x")
        self._X = torch.cat([self._X, row])
        self._Y = torch.cat([self._Y, self._Y.new_tensor([[self._sign * float(y)]])])

    def best(self) -> tuple[dict[str, Any], float]:
        """The evaluated point with the best measured value, and its response as it was told.

        Raises:
            RuntimeError: If nothing has been told yet.
        """
        if len(self) == 0:
            raise RuntimeError(
                "nothing has been told yet: ask for a point, measure it and tell the value"
            )
        objective = self._objective()
        values = self._Y.squeeze(-1) if objective is None else objective(self._Y, self._X)
        row = int(values.argmax())
        return self.prior.space.to_dicts(self._X[row : row + 1])[0], self._sign * float(
            self._Y[row]
        )

    def _objective(self) -> Objective | None:
        """The objective as a function of the response in the Prior's units."""
        objective = self.objective
        if objective is None or self._sign > 0:
            return objective
        return lambda Y, X: objective(-Y, X)

    def _best_candidate(self, acquisition: AcquisitionFunction) -> Tensor:
        assert self._candidates is not None
        seen = (self._candidates[:, None] == self._X).all(-1).any(-1)
        left = self._candidates[~seen]
        if len(left) == 0:
            raise RuntimeError(f"all {len(self._candidates)} candidates have been evaluated")
        return left[_score(acquisition, left).argmax()]


def search_space(
    acquisition: AcquisitionFunction, space: InputSpace, X_evaluated: Tensor, *, seed: int
) -> Tensor:
    """The point (`d`) of a space, mixed or not, where an acquisition function is largest.

    A quasi-random pool, then changes of its best points for inputs that are whole or categorical,
    then BoTorch's L-BFGS-B for the others.
    """
    pool = torch.cat([space.sample(_POOL, seed=seed), X_evaluated])
    values = _score(acquisition, pool)
    whole = sorted({*space.integer_dims, *space.categorical_dims})
    if whole:
        for radius in (0.2, 0.05):
            near = _nearby(space, pool[values.topk(_STARTS).indices], radius, seed)
            pool, values = torch.cat([pool, near]), torch.cat([values, _score(acquisition, near)])
    starts = pool[values.topk(_STARTS).indices]
    if len(whole) == space.dim:
        return starts[0]
    # Inputs without a gradient stay at each start's values; without any, all starts go together.
    groups = starts.split(1 if whole else _STARTS)
    polished = torch.cat([_polish(acquisition, space, group, whole) for group in groups])
    points = torch.cat([starts, polished])
    return points[_score(acquisition, points).argmax()]


def _score(acquisition: AcquisitionFunction, points: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([acquisition(part.unsqueeze(-2)) for part in points.split(4096)])


def _nearby(space: InputSpace, points: Tensor, radius: float, seed: int) -> Tensor:
    """Legal points that differ from given ones by a step, or in one input by anything."""
    generator = torch.Generator().manual_seed(seed)
    count, width = _NEARBY * len(points), space.dim
    centers = space.to_unit(points).repeat(_NEARBY, 1)
    steps = radius * torch.randn(count, width, generator=generator, dtype=torch.float64)
    elsewhere = torch.rand(count, width, generator=generator, dtype=torch.float64)
    jump = torch.rand(count, width, generator=generator) < 1 / width
    return space.from_unit(torch.where(jump, elsewhere, centers + steps).clamp(0, 1))


class _InUnitCube(AcquisitionFunction):
    """An acquisition function of the unit cube, where all inputs have one scale."""

    def __init__(self, acquisition: AcquisitionFunction, space: InputSpace) -> None:
        super().__init__(acquisition.model)
        self.acquisition, self.space = acquisition, space

    @t_batch_mode_transform()  # type: ignore[arg-type]
    def forward(self, U: Tensor) -> Tensor:
        return self.acquisition(self.space.from_unit(U))


def _polish(
    acquisition: AcquisitionFunction, space: InputSpace, starts: Tensor, whole: list[int]
) -> Tensor:
    """Improve the continuous inputs of points `s x d` that agree in the others."""
    unit = space.to_unit(starts)
    with warnings.catch_warnings():
        # A line search that ends early leaves a point no worse than its start, which is kept too.
        warnings.simplefilter("ignore", OptimizationWarning)
        best, _ = gen_candidates_scipy(
            initial_conditions=unit.unsqueeze(-2),
            acquisition_function=_InUnitCube(acquisition, space),
            lower_bounds=0.0,
            upper_bounds=1.0,
            fixed_features={i: float(unit[0, i]) for i in whole},
            options={"maxiter": 50},
        )
    return space.from_unit(best.detach()).squeeze(-2)


def _as_points(
    space: InputSpace, candidates: Tensor | pd.DataFrame | Sequence[Mapping[str, Any]]
) -> Tensor:
    if not isinstance(candidates, Tensor):
        candidates = space.to_tensor(candidates)
    if candidates.dim() != 2 or len(candidates) == 0:
        raise ValueError(
            f"candidates must be N x {space.dim} with N > 0; got {tuple(candidates.shape)}"
        )
    space.check(candidates, name="candidates")
    return space.snap(candidates.double())
