"""Two transfer schedulers of Syne Tune (`metabo[packages]`), with their own defaults.

Copula Thompson sampling [Salinas2020]_: gradient-boosted trees predict a point's rank in earlier
tasks, and points are drawn with that and the trees' error; answers change nothing. And a bounding
box around the best point of each earlier task [Perrone2019]_, searched by conformal quantile
regression [Salinas2023]_.

.. [Salinas2020] D. Salinas, H. Shen, V. Perrone. A Quantile-based Approach for Hyperparameter
   Transfer Learning. ICML 2020.
.. [Perrone2019] V. Perrone, H. Shen, M. Seeger, C. Archambeau, R. Jenatton. Learning Search Spaces
   for Bayesian Optimization. NeurIPS 2019.
.. [Salinas2023] D. Salinas, J. Golebiowski, A. Klein, M. Seeger, C. Archambeau. Optimizing
   Hyperparameters with Conformal Quantile Regression. ICML 2023.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import redirect_stdout
from datetime import datetime
from typing import Any

import pandas as pd
import torch
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import Domain, choice, lograndint, loguniform, randint, uniform
from syne_tune.optimizer.baselines import CQR
from syne_tune.optimizer.schedulers.transfer_learning.bounding_box import BoundingBox
from syne_tune.optimizer.schedulers.transfer_learning.quantile_based import (
    quantile_based_searcher as quantile_based,
)
from syne_tune.optimizer.schedulers.transfer_learning.transfer_learning_task_evaluation import (
    TransferLearningTaskEvaluations,
)
from torch import Tensor

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.snapped_search import SnappedSearch
from metabo.objective import Objective
from metabo.space import InputSpace

_METRIC = "value"


class SyneTuneSearch(SnappedSearch):
    """A scheduler samples the whole space; the nearest candidate is measured, and told to it.

    Args:
        runs: The earlier runs.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of the scheduler.
    """

    def __init__(
        self,
        runs: EarlierRuns,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(runs.space, candidates, seed=seed)
        self.objective = objective
        with redirect_stdout(io.StringIO()):  # they print their seconds, or the box
            self._scheduler = self.begin(runs)

    @abstractmethod
    def begin(self, runs: EarlierRuns) -> Any:
        """The scheduler, given the earlier runs."""

    def draw(self) -> Tensor:
        """What the scheduler suggests, `d`."""
        config = self.suggest()
        row = [float(config[name]) for name in self.space.names]
        return self.space.snap(torch.tensor(row, dtype=torch.float64))

    @abstractmethod
    def suggest(self) -> dict[str, Any]:
        """The scheduler's next configuration."""


class CopulaSearch(SyneTuneSearch):
    """Copula Thompson sampling; as in `SyneTuneSearch`."""

    def begin(self, runs: EarlierRuns) -> Any:
        """The trees, fitted."""
        return quantile_based.QuantileBasedSurrogateSearcher(
            config_space(self.space),
            evaluations(runs, self.objective, minimize=True),  # it only looks for the lowest
            random_seed=self.seed,
        )

    def suggest(self) -> dict[str, Any]:
        """A draw."""
        return self._scheduler.suggest()


class BoundingBoxSearch(SyneTuneSearch):
    """Conformal quantile regression in a bounding box; as in `SyneTuneSearch`."""

    def begin(self, runs: EarlierRuns) -> Any:
        """The regression, in the box."""

        def in_box(box: dict[str, Any], metric: str, minimize: bool, random_seed: int) -> CQR:
            return CQR(box, metric, do_minimize=minimize, random_seed=random_seed)

        return BoundingBox(
            in_box,
            config_space(self.space),
            _METRIC,
            evaluations(runs, self.objective, minimize=False),
            do_minimize=False,
            random_seed=self.seed,
        )

    def suggest(self) -> dict[str, Any]:
        """Where the regression promises most."""
        return self._scheduler.suggest().config

    def tell(self, x: Mapping[str, Any], y: float) -> None:
        """Take a measured response; errors as in `CandidateSearch`."""
        super().tell(x, y)
        value = float(y)
        if self.objective is not None:
            value = float(self.objective(self.Y[-1:], self.X[-1:]))
        (config,) = configurations(self.space, self.X[-1:]).to_dict("records")
        trial = Trial(len(self.Y), config, datetime.now())
        self._scheduler.on_trial_complete(trial, {_METRIC: value})


def config_space(space: InputSpace) -> dict[str, Domain]:
    """What a user of Syne Tune would write for the inputs; ranks and choices are their indices."""
    kinds = {}
    for i, name in enumerate(space.names):
        low, high = space.bounds[:, i].tolist()
        log = i in space.log_dims
        if i in space.categorical_dims:
            kinds[name] = choice([str(index) for index in range(int(high) + 1)])
        elif i in space.integer_dims:
            kinds[name] = (lograndint if log else randint)(int(low), int(high))
        else:
            kinds[name] = (loguniform if log else uniform)(low, high)
    return kinds


def evaluations(
    runs: EarlierRuns, objective: Objective | None, *, minimize: bool
) -> dict[str, TransferLearningTaskEvaluations]:
    """The earlier runs as Syne Tune keeps them.

    Args:
        runs: The earlier runs.
        objective: What is evaluated; the response itself if None.
        minimize: Whether the negative is put in its place.
    """
    found = {}
    for task in runs.tasks:
        values = task.Y if objective is None else objective(task.Y, task.X)
        values = (-values if minimize else values).reshape(-1, 1, 1, 1)
        found[task.name] = TransferLearningTaskEvaluations(
            configuration_space=config_space(runs.space),
            hyperparameters=configurations(runs.space, task.X),
            objectives_names=[_METRIC],
            objectives_evaluations=values.double().numpy(),
        )
    return found


def configurations(space: InputSpace, X: Tensor) -> pd.DataFrame:
    """Points `n x d` with what the configuration space calls their values."""
    frame = pd.DataFrame(X.numpy(), columns=list(space.names))
    whole = [space.names[i] for i in (*space.integer_dims, *space.categorical_dims)]
    choices = [space.names[i] for i in space.categorical_dims]
    return frame.astype(dict.fromkeys(whole, int)).astype(dict.fromkeys(choices, str))
