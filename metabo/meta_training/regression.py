"""The mean function of few but long tasks: a network fitted to all their observations at once.

Reptile leaves a network from which each task is learned in a few steps. Where a handful of tasks
has thousands of observations, their mean function is known in far more detail than such a start
shows, and a new task's best points are first of all theirs.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from metabo.adam import Adam, cooled
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

_POINTS = 512  # a step, of all tasks together
_STEP_SIZE = 0.01
_COOLED = 0.02  # what is left of it in the end


def regress(network: MLP, tasks: TaskBatch, steps: int, *, seed: int) -> MLP:
    """Fit a copy of a network to the observations of all tasks, by Adam on the squared error.

    Args:
        network: Where to start.
        tasks: X encoded, Y scaled to the order of one; each task counts for as much.
        steps: How many.
        seed: Decides which observations a step sees.
    """
    network = copy.deepcopy(network).to(tasks.Y.device, torch.float32).requires_grad_(True)
    generator = torch.Generator(tasks.Y.device).manual_seed(seed)
    by_rank = network.layers[-1].detach().clone().requires_grad_(True)
    optimizer = Adam([([*network.layers, by_rank], _STEP_SIZE)])
    inputs, outputs = tasks.X.float(), tasks.Y.float()
    scores = _normal_scores(tasks).float()
    for step in range(steps):
        rows = _some(tasks.counts, generator)
        features = network.features(inputs[rows])
        found = features @ torch.cat([network.layers[-1], by_rank], -1)
        loss = (found - torch.stack([outputs[rows], scores[rows]], -1)).square().sum(-1).mean()
        optimizer.step(loss, cooled(step / steps, _COOLED))
    return network.requires_grad_(False)


def _some(counts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random observations: their tasks, and their rows."""

    def uniform() -> Tensor:
        return torch.rand(_POINTS, generator=generator, device=counts.device)

    task = (uniform() * len(counts)).long()
    return task, (uniform() * counts[task]).long()


def _normal_scores(tasks: TaskBatch) -> Tensor:
    """Each task's outputs by their ranks, `T x n`, as if they were normal."""
    ranks = tasks.Y.masked_fill(~tasks.mask, math.inf).argsort(-1).argsort(-1)
    places = (ranks + 0.5) / tasks.counts[:, None]
    return torch.special.ndtri(places.clamp_max(1 - 1e-9).double())
