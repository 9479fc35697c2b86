"""One Gaussian process for each earlier task, and searches by an ensemble of these."""

from __future__ import annotations

from functools import cached_property

import torch
from botorch.models import SingleTaskGP
from torch import Tensor
from torch.distributions import Normal

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.improvement_search import ImprovementSearch, marginals
from metabo.baselines.refitted_gp import RefittedGP
from metabo.baselines.vanilla_gp import quiet, vanilla_gp
from metabo.objective import Objective


class TaskGPs:
    """BoTorch's default model of each earlier task, fitted once, when first needed.

    Args:
        runs: The earlier runs.
        max_points: How many observations each model gets, drawn at random; the cost of fitting is
            cubic.
    """

    def __init__(self, runs: EarlierRuns, *, max_points: int = 100) -> None:
        self.runs = runs
        self.max_points = max_points
        self._predicted: tuple[Tensor, Tensor, Tensor] | None = None

    @cached_property
    def models(self) -> list[SingleTaskGP]:
        """One for each task; their Y is standardised by all observations of the task."""
        tasks = self.runs.sample(self.max_points)
        return [vanilla_gp(task.X, task.Y, task.space) for task in tasks]

    def predict(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations, `T x N` each, at candidates `N x d`."""
        if self._predicted is None or not torch.equal(self._predicted[0], candidates):
            with torch.no_grad():
                found = [marginals(model, candidates) for model in self.models]
            means = torch.stack([one.mean for one in found])
            self._predicted = (candidates, means, torch.stack([one.stddev for one in found]))
        return self._predicted[1:]


class EnsembleSearch(ImprovementSearch):
    """Bayesian optimisation with the models of earlier tasks and one of the task's own.

    Args:
        gps: The models of the earlier tasks.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of all that is drawn.
    """

    def __init__(
        self,
        gps: TaskGPs,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(gps.runs.space, candidates, objective=objective, seed=seed)
        self.gps = gps
        self._refitted = RefittedGP(self.space)

    def earlier(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Means and deviations, `T x q`, by the models of earlier tasks, in the new one's units."""
        offset, scale = self.gps.runs.scale_of(self.Y)
        means, sds = (scale * part[:, indices] for part in self.gps.predict(self.candidates))
        return means + offset, sds

    def fit_own(self) -> SingleTaskGP:
        """The task's own model."""
        return self._refitted.given(self.X, self.Y)

    def predict_own(self, model: SingleTaskGP, indices: Tensor) -> Normal:
        """What the task's own model says."""
        with quiet():
            return marginals(model, self.candidates[indices])
