r"""The outer loop that Reptile and MAML share: draw tasks, adapt to them, move the weights.

.. math::
    \theta \leftarrow \theta + \epsilon_k \, \Delta(\theta), \quad \epsilon_k = \epsilon (1 - k / K)

The algorithms differ in the displacement :math:`\Delta` alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from metabo.network import MLP
from metabo.tasks.task import TaskBatch

# How often a GPU's work is looked at: each look waits for the device.
_STEPS_PER_LOOK = 25


class Displacement(NamedTuple):
    """Where one outer step wants to move the weights, and what the inner loop saw."""

    layers: list[Tensor]  # each (in + 1) x out
    losses: Tensor  # S x T


# From the weights, the activation, X (S x T x b x e), Y (S x T x b) and the inner step size.
MetaGradient = Callable[[list[Tensor], str, Tensor, Tensor, float], Displacement]


class DivergedError(RuntimeError):
    """Meta-training stopped being finite.

    Attributes:
        network: The last good weights.
    """

    def __init__(self, message: str, network: MLP) -> None:
        super().__init__(message)
        self.network = network


@dataclass(frozen=True)
class OuterLoopSettings:
    """How meta-training runs.

    Attributes:
        outer_steps: How often the weights are moved, K.
        tasks_per_step: How many tasks are adapted to at once, T.
        inner_steps: How many steps of SGD adapt to a task, S.
        points_per_step: How many observations each of them sees, b.
        inner_step_size: The step size of SGD.
        outer_step_size: The share of the displacement taken at first; it cools linearly to 0.

    Raises:
        ValueError: If a setting is not positive.
    """

    outer_steps: int = 200
    tasks_per_step: int = 64
    inner_steps: int = 50
    points_per_step: int = 10
    inner_step_size: float = 0.02
    outer_step_size: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{field.name} must be positive and finite; got {value}")


def meta_learn(
    meta_gradient: MetaGradient,
    tasks: TaskBatch,
    network: MLP,
    settings: OuterLoopSettings,
    *,
    seed: int,
    device: torch.device | str = "auto",
    progress: bool = True,
) -> MLP:
    """Meta-train a copy of `network`; arguments and errors as in `reptile`."""
    if tasks.X.shape[-1] != network.num_inputs:
        raise ValueError(
            f"the tasks have {tasks.X.shape[-1]} encoded inputs "
            f"but the network takes {network.num_inputs}"
        )
    device = choose_device(device)
    weights = [w.detach().to(device, copy=True) for w in network.layers]
    tasks = tasks.to(device, weights[0].dtype)
    generator = torch.Generator(device).manual_seed(seed)
    good = [w.clone() for w in weights]
    every = 1 if device.type == "cpu" else _STEPS_PER_LOOK
    with _progress_bar(progress) as bar:
        row = bar.add_task("meta-training", total=settings.outer_steps, loss=float("nan"))
        for step in range(settings.outer_steps):
            X, Y = _draw(tasks, settings, generator)
            displacement = meta_gradient(
                weights, network.activation, X, Y, settings.inner_step_size
            )
            epsilon = settings.outer_step_size * (1 - step / settings.outer_steps)
            torch._foreach_add_(weights, displacement.layers, alpha=epsilon)
            if (step + 1) % every == 0 or step + 1 == settings.outer_steps:
                if not _all_finite(weights):
                    raise _diverged(step, settings, with_layers(network, good))
                torch._foreach_copy_(good, weights)
                bar.update(row, completed=step + 1, loss=float(displacement.losses[-1].mean()))
    return with_layers(network, weights)


def choose_device(device: torch.device | str) -> torch.device:
    """`"auto"` is CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def with_layers(network: MLP, layers: list[Tensor]) -> MLP:
    """A copy of the network with other weights."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for parameter, layer in zip(network.layers, layers, strict=True):
            parameter.copy_(layer)
    return network


def _draw(
    tasks: TaskBatch, settings: OuterLoopSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A minibatch for every inner step: X (S x T x b x e) and Y (S x T x b)."""
    steps, points = settings.inner_steps, settings.points_per_step
    X, Y = tasks.minibatch(settings.tasks_per_step, steps * points, generator)
    X = X.reshape(-1, steps, points, X.shape[-1]).transpose(0, 1)
    return X, Y.reshape(-1, steps, points).transpose(0, 1)


def _all_finite(weights: list[Tensor]) -> bool:
    return bool(torch.stack([w.isfinite().all() for w in weights]).all())


def _diverged(step: int, settings: OuterLoopSettings, network: MLP) -> DivergedError:
    return DivergedError(
        f"the inner loop stopped being finite by outer step {step + 1}: lower inner_step_size "
        f"(it is {settings.inner_step_size:g}); the last good weights are in the error's .network",
        network,
    )


def _progress_bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4g}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
