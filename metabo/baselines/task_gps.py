"""One Gaussian process for each earlier task: what ensembles are made of."""

from __future__ import annotations

from functools import cached_property

import torch
from botorch.models import SingleTaskGP
from torch import Tensor

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.improvement_search import marginals
from metabo.baselines.vanilla_gp import vanilla_gp


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
