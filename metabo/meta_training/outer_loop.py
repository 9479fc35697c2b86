r"""The outer loop that Reptile and MAML share: draw tasks, adapt to them, move the weights.

.. math::
    \theta \leftarrow \theta + \epsilon_k \, \Delta(\theta), \quad \epsilon_k = \epsilon (1 - k / K)

The algorithms differ in the displacement :math:`\Delta` alone.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from metabo.meta_training import ranks
from metabo.meta_training.autograd_loop import Loss
from metabo.meta_training.checkpoint import Checkpoint, fingerprint
from metabo.meta_training.learner import Learner, choose_learner
from metabo.meta_training.progress import progress_bar
from metabo.meta_training.records import Curve, Records
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

# How often a GPU's work is looked at: each look waits for the device.
_STEPS_PER_LOOK = 25

Network = TypeVar("Network", bound=nn.Module)


class Displacement(NamedTuple):
    """Where one outer step wants to move the weights, and what the inner loop saw."""

    weights: list[Tensor]  # the mean over tasks, shaped as the weights
    losses: Tensor  # S: the mean over tasks of the loss before each inner step


class MetaGradient(NamedTuple):
    """An algorithm: all that tells Reptile from MAML.

    Attributes:
        name: What it is called.
        displacement: From the learner, the weights, X (`M x T x b x e`), Y (`M x T x b`) and the
            inner step size, M minibatches of T tasks, to the displacement of the weights.
        queries: How many minibatches it needs beside one for each inner step.
    """

    name: str
    displacement: Callable[[Learner, list[Tensor], Tensor, Tensor, float], Displacement]
    queries: int = 0


class DivergedError(RuntimeError):
    """Meta-training stopped being finite.

    Attributes:
        network: The last good weights.
    """

    def __init__(self, message: str, network: nn.Module) -> None:
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
) -> Network:
    """Meta-train a copy of `network`; arguments and errors as in `reptile`."""
    if isinstance(network, MLP) and tasks.X.shape[-1] != network.num_inputs:
        raise ValueError(
            f"the tasks have {tasks.X.shape[-1]} encoded inputs "
            f"but the network takes {network.num_inputs}"
        )
    records = records or Records()
    run = _Run(algorithm, tasks, network, settings, seed, loss, choose_device(device))
    if records.resume:
        run.resume(records)
    first = ranks.rank() == 0
    curve = Curve(records.curve if first else None, run.step)
    with progress_bar(progress and first) as bar:
        row = bar.add_task(algorithm.name, total=settings.outer_steps, loss=float("nan"))
        started = time.perf_counter()
        while run.step < settings.outer_steps:
            losses = run.advance()
            if run.is_due(run.steps_per_look):
                run.check()
                before, after = losses[[0, -1]].tolist()
                bar.update(row, completed=run.step, loss=after)
                curve.add(run.step, before, after, time.perf_counter() - started)
            if records.checkpoint is not None and first and run.is_due(records.every):
                run.check()
                run.checkpoint().save(records.checkpoint)
        bar.update(row, completed=run.step)
    return with_weights(network, run.weights)


class _Run:
    """A run of meta-training: `step`, `weights` and `generator` are all that changes in it."""

    def __init__(
        self,
        algorithm: MetaGradient,
        tasks: TaskBatch,
        network: nn.Module,
        settings: OuterLoopSettings,
        seed: int,
        loss: Loss | None,
        device: torch.device,
    ) -> None:
        self.step = 0
        self.weights = [w.detach().to(device, copy=True) for w in network.parameters()]
        self.generator = torch.Generator(device).manual_seed(seed)
        self.steps_per_look = 1 if device.type == "cpu" else _STEPS_PER_LOOK
        self._displacement = algorithm.displacement
        self._minibatches = settings.inner_steps + algorithm.queries
        self._settings = settings
        self._network = network
        self._learner = choose_learner(copy.deepcopy(network).to(device), loss)
        self._tasks = tasks.to(device, self.weights[0].dtype)
        self._good = [w.clone() for w in self.weights]
        self._identity = {
            "algorithm": algorithm.name,
            "settings": asdict(settings),
            "seed": seed,
            "loss": getattr(loss, "__qualname__", None),
            "device": device.type,
            "tasks": fingerprint([tasks.X, tasks.Y, tasks.counts]),
            "start": fingerprint(self.weights),
        }

    def advance(self) -> Tensor:
        """Take one outer step; returns the mean loss before each inner step."""
        settings = self._settings
        X, Y = self._draw()
        moved = self._displacement(self._learner, self.weights, X, Y, settings.inner_step_size)
        *mean, losses = ranks.mean_over_tasks(
            [*moved.weights, moved.losses], settings.tasks_per_step
        )
        epsilon = settings.outer_step_size * (1 - self.step / settings.outer_steps)
        torch._foreach_add_(self.weights, mean, alpha=epsilon)
        self.step += 1
        return losses

    def is_due(self, every: int) -> bool:
        """Whether something is done now that is done every so many steps, and at the end."""
        return self.step % every == 0 or self.step == self._settings.outer_steps

    def check(self) -> None:
        """Note the weights as good.

        Raises:
            DivergedError: If they are not finite.
        """
        if not torch.stack([w.isfinite().all() for w in self.weights]).all():
            raise DivergedError(
                f"meta-training stopped being finite by outer step {self.step}: lower "
                f"inner_step_size (it is {self._settings.inner_step_size:g}); the last good "
                "weights are in the error's .network",
                with_weights(self._network, self._good),
            )
        for good, weight in zip(self._good, self.weights, strict=True):
            good.copy_(weight)

    def checkpoint(self) -> Checkpoint:
        """Where the run stands."""
        return Checkpoint(self.step, self.weights, self.generator.get_state(), self._identity)

    def resume(self, records: Records) -> None:
        """Go on from the checkpoint that the first rank finds, if it finds one."""
        found = None
        if ranks.rank() == 0 and records.checkpoint is not None and records.checkpoint.exists():
            found = Checkpoint.load(records.checkpoint, self._identity)
        found = ranks.from_first(found)
        if found is None:
            return
        self.step = found.step
        for weight, good, saved in zip(self.weights, self._good, found.weights, strict=True):
            weight.copy_(saved)
            good.copy_(saved)
        self.generator.set_state(found.generator)

    def _draw(self) -> tuple[Tensor, Tensor]:
        """This rank's M minibatches: X (M x T x b x e) and Y (M x T x b)."""
        num_tasks, points = self._settings.tasks_per_step, self._settings.points_per_step
        X, Y = self._tasks.minibatch(num_tasks, self._minibatches * points, self.generator)
        own = ranks.share(num_tasks)
        X = X[own].reshape(-1, self._minibatches, points, X.shape[-1])
        return X.transpose(0, 1), Y[own].reshape(-1, self._minibatches, points).transpose(0, 1)


def choose_device(device: torch.device | str) -> torch.device:
    """`"auto"` is CUDA where there is one: with several ranks, the one that is this rank's."""
    if device == "auto":
        return ranks.local_device() if torch.cuda.is_available() else torch.device("cpu")
    return torch.device(device)


def with_weights(network: Network, weights: list[Tensor]) -> Network:
    """A copy of the network with other weights, in the order of its parameters."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), weights, strict=True):
            parameter.copy_(weight)
    return network
