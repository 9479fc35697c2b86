"""Early stopping: meta-training ends where tasks that it has not seen stop gaining from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from metabo.meta_training import ranks
from metabo.meta_training.checkpoint import fingerprint
from metabo.meta_training.learner import Learner
from metabo.tasks.task import TaskBatch

_QUERY_POINTS = 32


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The tasks that decide which weights are kept, and when meta-training stops.

    Attributes:
        tasks: Of the same family as the training tasks, and in the same units: X encoded, Y scaled.
            A look at them takes as long as an outer step on as many tasks.
        every: How many outer steps lie between two looks.
        patience: Stop after so many looks without a gain.

    Raises:
        ValueError: If a task has fewer than two observations, one to adapt to and one to be judged
            by, or a number is not positive.
    """

    tasks: TaskBatch
    every: int = 10
    patience: int = 5

    def __post_init__(self) -> None:
        if min(self.every, self.patience) < 1:
            raise ValueError(
                f"every and patience must be at least 1; got {self.every} and {self.patience}"
            )
        short = (self.tasks.counts < 2).nonzero().flatten().tolist()
        if short:
            raise ValueError(
                f"held-out task {short[0]} has fewer than 2 observations, one to adapt to and one "
                "to be judged by: leave it out"
            )

    def identity(self) -> dict[str, Any]:
        """What a run that is resumed must share, JSON-able."""
        values = fingerprint([self.tasks.X, self.tasks.Y, self.tasks.counts])
        return {"tasks": values, "every": self.every, "patience": self.patience}


class EarlyStopping:
    """The loss on held-out tasks after adapting to them, and the weights for which it is lowest.

    Half the observations of each task, drawn once, are what it is adapted to; the loss is that of
    the others.

    Attributes:
        best: The weights for which the loss was lowest so far.
        loss: That loss.
        looks_since: How many looks there were since.

    Args:
        held_out: The tasks, and how often to look at them.
        learner: How the network learns one task.
        weights: Where meta-training starts.
        steps: S, how many inner steps adapt to a task.
        points: b, how many observations each of them sees.
        seed: Decides which observations a task is adapted to, in which order.
    """

    def __init__(
        self,
        held_out: HeldOut,
        learner: Learner,
        weights: list[Tensor],
        *,
        steps: int,
        points: int,
        seed: int,
    ) -> None:
        self.best = [w.clone() for w in weights]
        self.loss = math.inf
        self.looks_since = 0
        self.every = held_out.every
        self._patience = held_out.patience
        self._learner = learner
        tasks = held_out.tasks.to(weights[0].device, weights[0].dtype)
        self._support, self._query = _split(tasks, steps, points, seed)

    @property
    def stopped(self) -> bool:
        """Whether it is time to stop."""
        return self.looks_since >= self._patience

    def look(self, weights: list[Tensor], step_size: float) -> float:
        """The mean loss of held-out tasks after adapting from `weights`; keeps the best weights."""
        with torch.no_grad():
            adapted = self._learner.adapt(weights, *self._support, step_size)
            losses = vmap(self._learner.loss, randomness="different")(adapted.layers, *self._query)
        # All ranks go by the first one's, lest a last bit lets only some of them stop.
        loss = ranks.from_first(float(losses.mean()))
        self.looks_since += 1
        if loss < self.loss:
            self.loss, self.looks_since = loss, 0
            torch._foreach_copy_(self.best, weights)
        return loss

    def state(self) -> tuple[list[Tensor], float, int]:
        """What changes in it, to be restored."""
        return self.best, self.loss, self.looks_since

    def restore(self, best: list[Tensor], loss: float, looks_since: int) -> None:
        """Go on from a `state`."""
        torch._foreach_copy_(self.best, best)
        self.loss, self.looks_since = loss, looks_since


def _split(
    tasks: TaskBatch, steps: int, points: int, seed: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Minibatches to adapt to (X `S x T x b x e`, Y `S x T x b`), and others to judge by, one each.

    Both are drawn with replacement, from disjoint halves, so that tasks of any length fit.
    """
    device, count = tasks.Y.device, tasks.counts[:, None]
    generator = torch.Generator(device).manual_seed(seed)

    def uniform(columns: int) -> Tensor:
        return torch.rand(len(tasks), columns, generator=generator, device=device)

    # Each task's observations in random order, the padding last: the first half is for adapting.
    order = torch.where(tasks.mask, uniform(tasks.Y.shape[1]), 2.0).argsort(-1)
    half = (count + 1) // 2
    support = order.gather(1, (uniform(steps * points) * half).long())
    query = order.gather(1, half + (uniform(_QUERY_POINTS) * (count - half)).long())
    task = torch.arange(len(tasks), device=device)[:, None]
    X, Y = tasks.X[task, support], tasks.Y[task, support]
    X = X.reshape(len(tasks), steps, points, -1).transpose(0, 1)
    Y = Y.reshape(len(tasks), steps, points).transpose(0, 1)
    return (X, Y), (tasks.X[task, query], tasks.Y[task, query])
