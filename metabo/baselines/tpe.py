"""The tree-structured Parzen estimator [Bergstra2011]_, as Optuna has it (`metabo[optuna]`).

.. [Bergstra2011] J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl. Algorithms for Hyper-Parameter
   Optimization. NeurIPS 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial
from torch import Tensor

from metabo.baselines.snapped_search import SnappedSearch
from metabo.objective import Objective
from metabo.space import InputSpace


class TPESearch(SnappedSearch):
    """Optuna's `TPESampler` with its own defaults, which begin with ten random points.

    It samples the whole space, and is told the candidate that was measured in place of its sample.

    Args:
        space: As in `CandidateSearch`.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of the sampler.
    """

    def __init__(
        self,
        space: InputSpace,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(space, candidates, seed=seed)
        self.objective = objective
        self.distributions = distributions(space)
        self._study = _study(seed)

    def draw(self) -> Tensor:
        """A trial's point, `d`."""
        trial = self._study.ask(self.distributions)
        # What is measured is another point, which `tell` adds as a trial of its own.
        self._study.tell(trial, state=TrialState.FAIL)
        row = [
            float(distribution.to_internal_repr(trial.params[name]))
            for name, distribution in self.distributions.items()
        ]
        return self.space.snap(torch.tensor(row, dtype=torch.float64))

    def tell(self, x: Mapping[str, Any], y: float) -> None:
        """Take a measured response; errors as in `CandidateSearch`."""
        super().tell(x, y)
        point, value = self.X[-1], float(y)
        if self.objective is not None:
            value = float(self.objective(self.Y[-1:], self.X[-1:]))
        params = {
            name: distribution.to_external_repr(float(number))
            for (name, distribution), number in zip(self.distributions.items(), point, strict=True)
        }
        self._study.add_trial(
            create_trial(params=params, distributions=self.distributions, value=value)
        )


def distributions(space: InputSpace) -> dict[str, BaseDistribution]:
    """What a user of Optuna would write for the inputs; ranks and choices are their indices."""
    kinds: dict[str, BaseDistribution] = {}
    for i, name in enumerate(space.names):
        low, high = space.bounds[:, i].tolist()
        log = i in space.log_dims
        if i in space.categorical_dims:
            kinds[name] = CategoricalDistribution(range(int(high) + 1))
        elif i in space.integer_dims:
            kinds[name] = IntDistribution(int(low), int(high), log=log)
        else:
            kinds[name] = FloatDistribution(low, high, log=log)
    return kinds


def _study(seed: int) -> optuna.Study:
    """A study in memory, which Optuna would report on the terminal."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(sampler=TPESampler(seed=seed), direction="maximize")
    finally:
        optuna.logging.set_verbosity(level)
