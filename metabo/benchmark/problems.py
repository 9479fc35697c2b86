"""What is optimised in the benchmark: a task's response, an objective on top, and candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from metabo.objective import Objective
from metabo.space import InputSpace
from metabo.tasks import Task


@dataclass(frozen=True)
class NetBenefit:
    """The response minus what its inputs cost: `f(x) - cost sum_i (x_i - start_i)`."""

    cost: float
    start: float | tuple[float, ...]
    is_affine: ClassVar[bool] = True

    def __call__(self, Y: Tensor, X: Tensor) -> Tensor:
        """Values `... x q` of responses `... x q x 1` at points `... x q x d`."""
        return Y[..., 0] - self.cost * (X - X.new_tensor(self.start)).sum(-1)


@dataclass(frozen=True)
class Target:
    """How near the response is to a wanted level: `-|f(x) - level|`."""

    level: float

    def __call__(self, Y: Tensor, X: Tensor) -> Tensor:
        """Values `... x q` of responses `... x q x 1` at points `... x q x d`."""
        return -(Y[..., 0] - self.level).abs()


@dataclass(frozen=True, eq=False)
class Problem:
    """One task to optimise over candidates that all methods share.

    Attributes:
        name: What the problem is called in tables, the same for all its tasks.
        task: The task's name.
        space: The inputs.
        candidates: `N x d`.
        responses: The possible measurements of each candidate, `N x r`, of which one is drawn each
            time; NaN where a candidate has fewer than r.
        noise_sd: The standard deviation of normal noise on top.
        objective: What is to be maximised, known to all methods; the response itself if None.
        initial: For some seeds, points `m x d` that every method has to evaluate first.
    """

    name: str
    task: str
    space: InputSpace
    candidates: Tensor
    responses: Tensor
    noise_sd: float = 0.0
    objective: Objective | None = None
    initial: Mapping[int, Tensor] = field(default_factory=dict)

    @cached_property
    def values(self) -> Tensor:
        """The true objective at the candidates, N."""
        truth = self.responses.nanmean(-1, keepdim=True)
        return truth[:, 0] if self.objective is None else self.objective(truth, self.candidates)

    @cached_property
    def _codes(self) -> Tensor:
        return self.space.encode(self.candidates)

    def measure(self, x: Mapping[str, Any], generator: torch.Generator) -> float:
        """Measure the response at a candidate.

        It takes the same random numbers whatever x is, so methods with one generator's seed have
        the same luck.
        """
        replicates = self.responses[self.locate(x)]
        replicates = replicates[replicates.isfinite()]
        choice = torch.rand((), generator=generator) * len(replicates)
        noise = torch.randn((), generator=generator, dtype=torch.float64)
        return float(replicates[int(choice)] + self.noise_sd * noise)

    def locate(self, x: Mapping[str, Any]) -> int:
        """Which candidate a point is.

        Raises:
            ValueError: If it is none of them.
        """
        code = self.space.encode(self.space.to_tensor(x))
        distances = (self._codes - code).abs().amax(-1)
        if distances.min() > 1e-6:
            raise ValueError(f"{dict(x)} is no candidate of {self.name}, task {self.task}")
        return int(distances.argmin())

    def regret(self, x: Mapping[str, Any]) -> float:
        """How far a candidate falls behind the best one, as a share of the objective's range."""
        best, worst = self.values.max(), self.values.min()
        behind = float(best - self.values[self.locate(x)])
        return behind / float(best - worst) if behind > 0 else 0.0


def grid_problem(
    name: str,
    task: Task,
    *,
    noise_sd: float,
    objective: Objective | None,
    num_candidates: int = 200,
) -> Problem:
    """A task of a closed-form family on an even grid (one input) or on Sobol points.

    Raises:
        ValueError: If the task's true function is not known.
    """
    if task.function is None:
        raise ValueError(f"task {task.name!r} has no known function; use table_problem")
    candidates = grid(task.space, num_candidates)
    return Problem(
        name, task.name, task.space, candidates, task.function(candidates), noise_sd, objective
    )


def grid(space: InputSpace, num_points: int) -> Tensor:
    """An even grid over one input, `N x 1`; of more inputs N Sobol points, `N x d`."""
    if space.dim > 1:
        return space.sample(num_points, seed=0)
    return space.from_unit(torch.linspace(0, 1, num_points, dtype=torch.float64).unsqueeze(-1))


def table_problem(
    name: str,
    task: Task,
    *,
    objective: Objective | None = None,
    initial: Mapping[int, Tensor] | None = None,
) -> Problem:
    """A task of a table: what was measured there can be measured again.

    Points that were measured more than once are one candidate, whose true response is the mean.
    """
    candidates, which = task.X.unique(dim=0, return_inverse=True)
    order = which.argsort(stable=True)
    groups = task.Y[order, 0].split(which.bincount().tolist())
    responses = pad_sequence(groups, batch_first=True, padding_value=math.nan)
    return Problem(
        name,
        task.name,
        task.space,
        candidates,
        responses,
        objective=objective,
        initial=initial or {},
    )
