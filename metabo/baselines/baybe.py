"""BayBE's transfer learning (`metabo[packages]`), with its own defaults.

A campaign on the candidates with a task parameter: earlier tasks' observations are measurements of
other tasks, and a Gaussian process learns how alike the tasks are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from baybe import Campaign
from baybe.objectives import SingleTargetObjective
from baybe.parameters import CategoricalParameter, NumericalDiscreteParameter, TaskParameter
from baybe.parameters.base import Parameter
from baybe.searchspace import SearchSpace
from baybe.targets import NumericalTarget
from torch import Tensor

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.snapped_search import SnappedSearch
from metabo.objective import Objective

_TASK, _TARGET, _OWN = "task", "value", "this one"


class BayBESearch(SnappedSearch):
    """A campaign that recommends candidates, each of which is measured as it is.

    Args:
        runs: The earlier runs, of which at most 20 tasks and 140 observations in equal parts.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of what is random in the recommendations.
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
        tasks = runs.small_sample()
        self.offset, self.scale = runs.average_units
        seen = torch.cat([self.candidates, *(task.X for task in tasks)])
        varied = [i for i in range(self.space.dim) if len(seen[:, i].unique()) > 1]
        self._names = [self.space.names[i] for i in varied]
        names = [_OWN, *(task.name for task in tasks)]
        parameters = [
            *(self._parameter(i, seen[:, i]) for i in varied),
            TaskParameter(_TASK, values=names, active_values=[_OWN]),
        ]
        with _quiet():
            space = SearchSpace.from_dataframe(self._frame(self.candidates, _OWN), parameters)
            target = NumericalTarget(_TARGET)
            self._campaign = Campaign(space, SingleTargetObjective(target))
            for task, offset, scale in zip(tasks, runs.offsets, runs.scales, strict=False):
                # An objective needs responses as they were; else those of all tasks are alike.
                values = task.Y if objective is None else objective(offset + scale * task.Y, task.X)
                self._add(task.X, values, task.name)

    def draw(self) -> Tensor:
        """What the campaign recommends, `d`."""
        with _quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + len(self.Y))
            (row,) = self._campaign.recommend(batch_size=1).index
        return self.candidates[row]

    def tell(self, x: Mapping[str, Any], y: float) -> None:
        """Take a measured response; errors as in `CandidateSearch`."""
        super().tell(x, y)
        X, Y = self.X[-1:], self.Y[-1:]
        standardised = (Y - self.offset) / self.scale
        with _quiet():
            self._add(X, standardised if self.objective is None else self.objective(Y, X), _OWN)

    def _parameter(self, i: int, values: Tensor) -> Parameter:
        name = self.space.names[i]
        if i in self.space.categorical_dims:
            return CategoricalParameter(name, values=[_label(v) for v in values.unique().tolist()])
        return NumericalDiscreteParameter(name, values=self._unit(values, i).unique().tolist())

    def _unit(self, values: Tensor, i: int) -> Tensor:
        """Values of an input on its scale, from 0 to 1."""
        points = self.space.bounds[:1].repeat(len(values), 1)
        points[:, i] = values
        return self.space.to_unit(points)[:, i]

    def _frame(self, X: Tensor, task: str) -> pd.DataFrame:
        columns = {
            name: [_label(v) for v in X[:, i].tolist()]
            if i in self.space.categorical_dims
            else self._unit(X[:, i], i).tolist()
            for i, name in enumerate(self.space.names)
        }
        return pd.DataFrame(columns)[self._names].assign(**{_TASK: task})

    def _add(self, X: Tensor, values: Tensor, task: str) -> None:
        frame = self._frame(X, task).assign(**{_TARGET: values.flatten().tolist()})
        self._campaign.add_measurements(frame)


def _label(value: float) -> str:
    return f"choice {int(value)}"


@contextmanager
def _quiet() -> Iterator[None]:
    """BayBE warns of what its own defaults do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
