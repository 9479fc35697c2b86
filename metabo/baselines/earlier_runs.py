"""The earlier runs of a table, as the transfer baselines see them."""

from __future__ import annotations

import torch
from scipy.spatial import KDTree
from torch import Tensor

from metabo.objective import Objective
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

_FEW_POINTS = 140  # of all earlier tasks together: the cost of a fit is cubic
_FEW_TASKS = 20
_SAME = 1e-6  # encoded inputs are of order one; nearer than this is the same point


class EarlierRuns:
    """Earlier tasks on one space, each with the offset and scale of its Y.

    Args:
        family: The table, without the task that is to be optimised.
        seed: Of what is drawn from it, here and by `sample`.
        max_tasks: At most so many tasks, drawn at random: some baselines' costs grow with it at
            every step.

    Attributes:
        space: The inputs.
        tasks: T of them.
        offsets: The mean of Y in each task, T.
        scales: Its standard deviation, T; 1 where Y is constant.
    """

    def __init__(self, family: TableFamily, *, seed: int = 0, max_tasks: int = 50) -> None:
        self.space: InputSpace = family.space
        self.seed = seed
        self.tasks: list[Task] = family.tasks(max_tasks, seed=seed)
        self.offsets = torch.stack([task.Y.mean() for task in self.tasks])
        spreads = torch.stack([task.Y.std(correction=0) for task in self.tasks])
        floor = 1e-9 * self.offsets.abs().clamp_min(1.0)
        self.scales = torch.where(spreads > floor, spreads, torch.ones_like(spreads))
        self._values: tuple[Tensor, Tensor, bool] | None = None

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def average_units(self) -> tuple[float, float]:
        """The mean offset and the mean scale of the tasks."""
        return float(self.offsets.mean()), float(self.scales.mean())

    def sample(self, num_points: int) -> list[Task]:
        """At most so many observations of each task, Y standardised by all of its observations."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = []
        for task, offset, scale in zip(self.tasks, self.offsets, self.scales, strict=True):
            rows = torch.randperm(len(task), generator=generator)[:num_points].sort().values
            part = task.subset(rows)
            drawn.append(Task(task.name, task.space, part.X, (part.Y - offset) / scale))
        return drawn

    def small_sample(self) -> list[Task]:
        """At most 20 tasks and 140 observations in equal parts, likewise, for one model of all."""
        num_tasks = min(len(self), _FEW_TASKS)
        return self.sample(max(_FEW_POINTS // num_tasks, 1))[:num_tasks]

    def scale_of(self, Y: Tensor) -> tuple[float, float]:
        """Offset and scale of a new task by its first responses `n x 1`.

        Their mean and standard deviation; while there are no two that differ, the average spread of
        earlier tasks, and while there is none, their average offset.
        """
        offset = Y.mean() if len(Y) > 0 else self.offsets.mean()
        own = float(Y.std()) if len(Y) > 1 else 0.0
        return float(offset), own if own > 0 else float(self.scales.mean())

    def values(self, candidates: Tensor) -> Tensor:
        """The earlier tasks' mean Y, `T x N`, at candidates `N x d`, or at the nearest point."""
        return self._at(candidates)[0]

    def objective_values(self, candidates: Tensor, objective: Objective | None) -> Tensor:
        """The same of the objective that is to be maximised."""
        values = self.values(candidates)
        if objective is None:
            return values
        return objective(values.unsqueeze(-1), candidates.expand(len(values), -1, -1))

    def are_matched(self, candidates: Tensor) -> bool:
        """Whether every task was measured at all candidates."""
        return self._at(candidates)[1]

    def _at(self, candidates: Tensor) -> tuple[Tensor, bool]:
        if self._values is None or not torch.equal(self._values[0], candidates):
            self._values = (candidates, *values_at(self.space, self.tasks, candidates))
        return self._values[1:]


def values_at(space: InputSpace, tasks: list[Task], candidates: Tensor) -> tuple[Tensor, bool]:
    """The mean Y (`T x N`) of each task at its point nearest to each candidate.

    Args:
        space: The inputs; near is what is near in the encoded ones.
        tasks: T of them.
        candidates: `N x d`.

    Returns:
        The values, and whether the nearest points are the candidates themselves.
    """
    codes = space.encode(candidates)
    rows, matched = [], True
    for task in tasks:
        X, which = task.X.unique(dim=0, return_inverse=True)
        sums = torch.zeros(len(X), dtype=task.Y.dtype).index_add(0, which, task.Y[:, 0])
        means = sums / which.bincount()
        distances, nearest = KDTree(space.encode(X).numpy()).query(codes.numpy())
        matched &= bool(distances.max() < _SAME)
        rows.append(means[torch.from_numpy(nearest)])
    return torch.stack(rows), matched
