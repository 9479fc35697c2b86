r"""The outer loop that Reptile and MAML share: draw tasks, adapt to them, move the weights.

.. math::
    \theta \leftarrow \theta + \epsilon_k \, \Delta(\theta), \quad \epsilon_k = \epsilon (1 - k / K)

The algorithms differ in the displacement :math:`\Delta` alone.
"""

from __future__ import annotations

import time
from contextlib import closing

import torch

from metabo.meta_training import ranks
from metabo.meta_training.autograd_loop import Loss
from metabo.meta_training.held_out import HeldOut
from metabo.meta_training.meta_gradient import MetaGradient, OuterLoopSettings
from metabo.meta_training.progress import progress_bar
from metabo.meta_training.records import Curve, Records
from metabo.meta_training.run import Network, Run, with_weights
from metabo.network import MLP
from metabo.tasks.task import TaskBatch


def meta_learn(
    algorithm: MetaGradient,
    tasks: TaskBatch,
    network: Network,
    settings: OuterLoopSettings,
    *,
    seed: int,
    loss: Loss | None = None,
    device: torch.device | str = "auto",
    progress: bool = True,
    records: Records | None = None,
    held_out: HeldOut | None = None,
) -> Network:
    """Meta-train a copy of `network`; arguments and errors as in `reptile`."""
    for name, batch in {"tasks": tasks, "held-out tasks": held_out and held_out.tasks}.items():
        if batch and isinstance(network, MLP) and batch.X.shape[-1] != network.num_inputs:
            raise ValueError(
                f"the {name} have {batch.X.shape[-1]} encoded inputs "
                f"but the network takes {network.num_inputs}"
            )
    records = records or Records()
    run = Run(algorithm, tasks, network, settings, seed, loss, choose_device(device), held_out)
    if records.resume:
        run.resume(records)
    first = ranks.rank() == 0
    curve = Curve(records if first else Records(), run.step)
    with closing(curve), progress_bar(progress and first) as bar:
        row = bar.add_task(algorithm.name, total=settings.outer_steps, loss=float("nan"))
        started = time.perf_counter()
        while not run.is_finished:
            losses = run.advance()
            if run.is_due(run.steps_per_look):
                seen = run.look(losses)
                bar.update(row, completed=run.step, loss=seen["loss_after"])
                curve.add(run.step, seen, time.perf_counter() - started)
            if records.checkpoint is not None and first and run.is_due(records.every):
                run.check()
                run.checkpoint().save(records.checkpoint)
        bar.update(row, completed=run.step)
    return with_weights(network, run.result)


def choose_device(device: torch.device | str) -> torch.device:
    """`"auto"` is CUDA where there is one: with several ranks, the one that is this rank's.

    Raises:
        ValueError: If it is no device, or there is none of its kind.
    """
    if device == "auto":
        return ranks.local_device() if torch.cuda.is_available() else torch.device("cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        text = f"{device!r} is no device: give 'auto', 'cpu', 'cuda' or, of several, 'cuda:1'"
        raise ValueError(text) from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() or "none"
        raise ValueError(f"there is no device {device!s}: PyTorch finds {found}; try 'cpu'")
    return chosen
