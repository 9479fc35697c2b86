"""One run of meta-training, step by step: what it keeps, how it is judged, saved and resumed."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TypeVar

import torch
from torch import Tensor, nn

from metabo.meta_training import ranks
from metabo.meta_training.autograd_loop import Loss, trainable
from metabo.meta_training.checkpoint import Checkpoint, fingerprint
from metabo.meta_training.held_out import EarlyStopping, HeldOut
from metabo.meta_training.learner import choose_learner
from metabo.meta_training.meta_gradient import DivergedError, MetaGradient, OuterLoopSettings
from metabo.meta_training.records import Records
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

# How often a GPU's work is looked at: each look waits for the device.
_STEPS_PER_LOOK = 25

Network = TypeVar("Network", bound=nn.Module)


class Run:
    """A run of meta-training.

    All that changes in it are `step`, `weights`, `generator` and what `_stopping` keeps.
    """

    def __init__(
        self,
        algorithm: MetaGradient,
        tasks: TaskBatch,
        network: nn.Module,
        settings: OuterLoopSettings,
        seed: int,
        loss: Loss | None,
        device: torch.device,
        held_out: HeldOut | None = None,
    ) -> None:
        self.step = 0
        self.weights = [w.detach().to(device, copy=True) for w in trainable(network).values()]
        self.generator = torch.Generator(device).manual_seed(seed)
        self.steps_per_look = 1 if device.type == "cpu" else _STEPS_PER_LOOK
        self._displacement = algorithm.displacement
        self._minibatches = settings.inner_steps + algorithm.queries
        self._settings = settings
        self._network = network
        self._learner = choose_learner(copy.deepcopy(network).to(device), loss)
        self._tasks = tasks.to(device, self.weights[0].dtype)
        self._good = [w.clone() for w in self.weights]
        self._stopping = self._early_stopping(held_out, seed)
        self._identity = {
            "algorithm": algorithm.name,
            "settings": asdict(settings),
            "seed": seed,
            "loss": getattr(loss, "__qualname__", None),
            "device": device.type,
            "tasks": fingerprint([tasks.X, tasks.Y, tasks.counts]),
            "network": _description(network),
            "start": fingerprint(self.weights),
            "held_out": held_out and held_out.identity(),
        }

    @property
    def is_finished(self) -> bool:
        """Whether all steps are taken, or held-out tasks have stopped gaining."""
        stopped = self._stopping is not None and self._stopping.stopped
        return stopped or self.step == self._settings.outer_steps

    @property
    def result(self) -> list[Tensor]:
        """The weights to keep."""
        return self.weights if self._stopping is None else self._stopping.best

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
        return self.step % every == 0 or self.is_finished

    def look(self, losses: Tensor) -> dict[str, float]:
        """Wait for the device and see how it goes; the losses are named as the curve's columns.

        Raises:
            DivergedError: If the weights are not finite.
        """
        self.check()
        before, after = losses[[0, -1]].tolist()
        seen = {"loss_before": before, "loss_after": after}
        if self._stopping is not None and self.is_due(self._stopping.every):
            step_size = self._settings.inner_step_size
            seen["held_out_loss"] = self._stopping.look(self.weights, step_size)
        return seen

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
        best = None if self._stopping is None else self._stopping.state()
        return Checkpoint(self.step, self.weights, self.generator.get_state(), self._identity, best)

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
        if self._stopping is not None and found.best is not None:
            self._stopping.restore(*found.best)

    def _early_stopping(self, held_out: HeldOut | None, seed: int) -> EarlyStopping | None:
        if held_out is None:
            return None
        if self.steps_per_look > 1:
            self.steps_per_look = held_out.every
        return EarlyStopping(
            held_out,
            self._learner,
            self.weights,
            steps=self._settings.inner_steps,
            points=self._settings.points_per_step,
            seed=seed,
        )

    def _draw(self) -> tuple[Tensor, Tensor]:
        """This rank's M minibatches: X (M x T x b x e) and Y (M x T x b)."""
        num_tasks, points = self._settings.tasks_per_step, self._settings.points_per_step
        X, Y = self._tasks.minibatch(num_tasks, self._minibatches * points, self.generator)
        own = ranks.share(num_tasks)
        X = X[own].reshape(-1, self._minibatches, points, X.shape[-1])
        return X.transpose(0, 1), Y[own].reshape(-1, self._minibatches, points).transpose(0, 1)


def with_weights(network: Network, weights: list[Tensor]) -> Network:
    """A copy of the network with other weights, in the order of `trainable`."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for parameter, weight in zip(trainable(network).values(), weights, strict=True):
            parameter.copy_(weight)
    return network


def _description(network: nn.Module) -> str:
    """What the same weights make another network of: layers, activation, what is frozen."""
    shapes = {name: tuple(weight.shape) for name, weight in trainable(network).items()}
    kind = network.settings() if isinstance(network, MLP) else network
    return f"{kind!r}, {shapes}"
