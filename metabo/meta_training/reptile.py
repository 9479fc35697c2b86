r"""Reptile: move the weights towards what T tasks' inner loops make of them [Nichol2018]_.

.. [Nichol2018] A. Nichol, J. Achiam, J. Schulman. On First-Order Meta-Learning Algorithms.
    arXiv:1803.02999.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.meta_training.inner_loop import adapt_layers
from metabo.meta_training.outer_loop import (
    Displacement,
    DivergedError,
    OuterLoopSettings,
    meta_learn,
)
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

__all__ = ["DivergedError", "ReptileSettings", "reptile", "reptile_displacement"]


@dataclass(frozen=True)
class ReptileSettings(OuterLoopSettings):
    """As `OuterLoopSettings`."""


def reptile(
    tasks: TaskBatch,
    network: MLP,
    settings: ReptileSettings = ReptileSettings(),
    *,
    seed: int,
    device: torch.device | str = "auto",
    progress: bool = True,
) -> MLP:
    r"""Meta-train a network on tasks with batched Reptile (Algorithm 2 of [Nichol2018]_).

    Each outer step adapts the weights :math:`\theta` to T tasks at once and moves them towards the
    mean result, :math:`\theta \leftarrow \theta + \epsilon_k (\bar\theta_T - \theta)`.

    Args:
        tasks: The training tasks, X encoded and Y scaled to the order of one.
        network: Where to start; it is not changed.
        settings: Numbers of steps and step sizes.
        seed: Decides every draw: the same seed gives the same result on the same machine.
        device: "auto" is CUDA where there is one.
        progress: Whether to show a bar, with the loss and the time left, on the standard error.

    Returns:
        The meta-trained network, where `network` was and of its precision.

    Raises:
        ValueError: If the tasks' inputs do not fit the network.
        DivergedError: If the weights stop being finite; the last good ones are in `error.network`.
    """
    return meta_learn(
        reptile_displacement,
        tasks,
        network,
        settings,
        seed=seed,
        device=device,
        progress=progress,
    )


def reptile_displacement(
    weights: list[Tensor], activation: str, X: Tensor, Y: Tensor, step_size: float
) -> Displacement:
    r"""From the weights to the mean of the adapted ones, :math:`\bar\theta_T - \theta`.

    Args:
        weights: The network's augmented matrices, each `(in + 1) x out`.
        activation: As in `MLP`.
        X: `S x T x b x e`, a minibatch for each inner step and task.
        Y: `S x T x b`.
        step_size: Of the inner loop.
    """
    adapted = adapt_layers(weights, activation, X, Y, step_size)
    layers = [after.mean(0) - before for after, before in zip(adapted.layers, weights, strict=True)]
    return Displacement(layers, adapted.losses)
