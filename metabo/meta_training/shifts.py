"""Copies of few tasks, shifted along their inputs: the same thing happens earlier or later there.

Curves of one family often differ in where they rise, and a handful of them shows few of the places
where the next one may. Shifted at random, they show all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from metabo.tasks.task import TaskBatch

_TASKS = 256  # with their copies
MOST_TASKS = 200  # with so many, there are shifts enough among them ...
_MOST_OBSERVATIONS = 5000  # ... and with so many observations the mean function is known too well
_FEWEST = 3  # observations of a copy that are still in the range


@dataclass(frozen=True)
class Shifts:
    """Independent Gaussian shifts of a task along each of its numeric inputs.

    Attributes:
        sd: Their standard deviation; encoded inputs have a range of 2 sqrt(3).
        num_numeric: How many of the encoded inputs, which come first, are numbers.
        seed: Of what is random.
    """

    sd: float
    num_numeric: int
    seed: int

    def apply(self, tasks: TaskBatch) -> TaskBatch:
        """The tasks (X encoded), and then their copies, without what is shifted out of the range.

        The range is that of all observations. A copy of which next to nothing is left in it is not
        shifted.
        """
        generator = torch.Generator().manual_seed(self.seed)
        numeric = tasks.X[..., : self.num_numeric]
        low, high = numeric[tasks.mask].aminmax(dim=0)
        sd = torch.where(high > low, self.sd, 0.0)
        parts = [tasks]
        for _ in range(max(_TASKS // len(tasks), 2) - 1):
            draws = torch.randn(
                len(tasks), 1, self.num_numeric, generator=generator, dtype=torch.float64
            )
            shifted = numeric + sd * draws.to(numeric)
            kept = ((shifted >= low) & (shifted <= high)).all(-1) & tasks.mask
            enough = kept.sum(-1) >= tasks.counts.clamp_max(_FEWEST)
            shifted = torch.where(enough[:, None, None], shifted, numeric)
            kept = torch.where(enough[:, None], kept, tasks.mask)
            X = torch.cat([shifted, tasks.X[..., self.num_numeric :]], -1)
            parts.append(_only(replace(tasks, X=X), kept))
        return TaskBatch(
            torch.cat([part.X for part in parts]),
            torch.cat([part.Y for part in parts]),
            torch.cat([part.counts for part in parts]),
        )


def _only(tasks: TaskBatch, kept: torch.Tensor) -> TaskBatch:
    """The tasks with only some observations, `T x n` (bool), which stay in their order."""
    order = (~kept).long().argsort(dim=-1, stable=True)
    counts = kept.sum(-1)
    places = torch.arange(kept.shape[1], device=kept.device)
    order = torch.where(places < counts[:, None], order, order[:, :1])
    X = tasks.X.gather(1, order.unsqueeze(-1).expand_as(tasks.X))
    Y = tasks.Y.gather(1, order) * (places < counts[:, None])
    return TaskBatch(X, Y, counts)


def may_help(tasks: TaskBatch, num_numeric: int) -> bool:
    """Whether shifts along so many numeric inputs are worth a try."""
    few = 1 < len(tasks) < MOST_TASKS and int(tasks.counts.sum()) <= _MOST_OBSERVATIONS
    return few and num_numeric > 0
