r"""Reptile: move the weights towards what T tasks' inner loops make of them [Nichol2018]_.

.. [Nichol2018] A. Nichol, J. Achiam, J. Schulman. On First-Order Meta-Learning Algorithms.
    arXiv:1803.02999.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.meta_training.autograd_loop import Loss
from metabo.meta_training.held_out import HeldOut
from metabo.meta_training.learner import Learner
from metabo.meta_training.meta_gradient import (
    Displacement,
    DivergedError,
    MetaGradient,
    OuterLoopSettings,
)
from metabo.meta_training.outer_loop import meta_learn
from metabo.meta_training.records import Records
from metabo.meta_training.run import Network
from metabo.tasks.task import TaskBatch

__all__ = ["REPTILE", "DivergedError", "ReptileSettings", "reptile"]


@dataclass(frozen=True)
class ReptileSettings(OuterLoopSettings):
    """How Reptile runs: as `OuterLoopSettings` has it, which is of MAML, too.

    A name of its own, in the place where `reptile` is: users do not have to know what it shares.
    """


def reptile(
    tasks: TaskBatch,
    network: Network,
    settings: ReptileSettings = ReptileSettings(),
    *,
    seed: int,
    loss: Loss | None = None,
    device: torch.device | str = "auto",
    progress: bool = True,
    records: Records | None = None,
    held_out: HeldOut | None = None,
) -> Network:
    r"""Meta-train a network on tasks with batched Reptile (Algorithm 2 of [Nichol2018]_).

    Each outer step adapts the weights :math:`\theta` to T tasks at once and moves them towards the
    mean result, :math:`\theta \leftarrow \theta + \epsilon_k (\bar\theta_T - \theta)`.

    Args:
        tasks: The training tasks, X encoded and Y scaled to the order of one.
        network: Where to start, an `MLP` or any module from `b x e` to `b x 1`; it is not changed.
        settings: Numbers of steps and step sizes.
        seed: Decides every draw: the same seed gives the same result on the same machine.
        loss: From outputs `b x 1` and observations `b` to a number; mean squared error if None. A
            loss or a module of your own runs through autograd, several times slower.
        device: "auto" is CUDA where there is one. Its products are float32 unless PyTorch's own
            switch, `torch.set_float32_matmul_precision`, allows TF32 ("high") or bfloat16
            ("medium"); set it before the first call.
        progress: Whether to show a bar, with the loss and the time left, on the standard error.
        records: Checkpoints to resume from, and the training curve; none by default.
        held_out: Tasks to stop by: the weights that serve them best are returned, not the last.

    Returns:
        The meta-trained network, where `network` was and of its precision.

    Raises:
        ValueError: If the tasks' inputs do not fit the network, or there is no such device.
        DivergedError: If the weights stop being finite; the last good ones are in `error.network`.
        CheckpointError: If the checkpoint to resume from is broken or of another run.
        RankLostError: If another process of a distributed run is gone.
    """
    return meta_learn(
        REPTILE,
        tasks,
        network,
        settings,
        seed=seed,
        loss=loss,
        device=device,
        progress=progress,
        records=records,
        held_out=held_out,
    )


def _displacement(
    learner: Learner, weights: list[Tensor], X: Tensor, Y: Tensor, step_size: float
) -> Displacement:
    adapted = learner.adapt(weights, X, Y, step_size)
    moved = [after.mean(0) - before for after, before in zip(adapted.layers, weights, strict=True)]
    return Displacement(moved, adapted.losses.mean(1))


REPTILE = MetaGradient("Reptile", _displacement)
