"""Few-shot learning without a surrogate: Reptile's network, adapted to the task by SGD alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from metabo.meta_training.inner_loop import adapt_layers
from metabo.meta_training.reptile import ReptileSettings, reptile
from metabo.network import MLP, stacked_output
from metabo.space import InputSpace
from metabo.tasks import FunctionFamily
from metabo.tasks.task import TaskBatch

_CALIBRATION = 256  # training tasks that tell how far off the adapted network is


@dataclass(frozen=True, eq=False)
class AdaptedNetwork:
    """Predicts with the adapted network; the error to expect is that on training tasks.

    Attributes:
        network: From Reptile.
        tasks: Training tasks, in model units, to learn the errors from.
        offset: Model units to user's units: `y = offset + scale * model`.
        scale: Likewise.
        settings: The inner loop, which uses all observations in every step.
    """

    network: MLP
    tasks: TaskBatch
    offset: float
    scale: float
    settings: ReptileSettings
    name: ClassVar[str] = "Reptile and SGD"

    @classmethod
    def meta_train(
        cls,
        family: FunctionFamily,
        *,
        seed: int,
        outer_steps: int = 1000,
        num_tasks: int = 3000,
        hidden: Sequence[int] = (32, 32, 32),
    ) -> AdaptedNetwork:
        """Train the network on a family."""
        raw = family.batch(num_tasks, 40, seed=seed)
        offset, scale = float(raw.Y.mean()), float(raw.Y.std())
        tasks = TaskBatch(family.space.encode(raw.X), (raw.Y - offset) / scale, raw.counts)
        generator = torch.Generator().manual_seed(seed)
        network = MLP(family.space.encoded_dim, tuple(hidden), generator=generator)
        settings = ReptileSettings(outer_steps=outer_steps)
        network = reptile(tasks, network, settings, seed=seed, progress=False)
        return cls(network, tasks.select(slice(_CALIBRATION)), offset, scale, settings)

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """A normal distribution of one width, whatever the query; n may be 0."""
        encoded, targets = space.encode(X), (Y.squeeze(-1) - self.offset) / self.scale
        mean = self._adapted(encoded[None], targets[None], space.encode(query)[None])[0]
        return Normal(self.offset + self.scale * mean, self.scale * self._error(len(X)))

    @cached_property
    def _errors(self) -> dict[int, float]:
        return {}

    def _error(self, n: int) -> float:
        """The root mean squared error at the other observations of training tasks."""
        if n not in self._errors:
            X, Y = self.tasks.X, self.tasks.Y
            found = self._adapted(X[:, :n], Y[:, :n], X[:, n:])
            self._errors[n] = float((found - Y[:, n:]).square().mean().sqrt())
        return self._errors[n]

    def _adapted(self, X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        steps, step_size = self.settings.inner_steps, self.settings.inner_step_size
        return adapted_outputs(self.network, X, Y, query, steps=steps, step_size=step_size)


def adapted_outputs(
    network: MLP, X: Tensor, Y: Tensor, query: Tensor, *, steps: int, step_size: float
) -> Tensor:
    """The outputs, `T x q`, of a network adapted to each of T tasks.

    Args:
        network: Where every task starts from.
        X: `T x n x e`, encoded; all n observations are used in every step. n may be 0.
        Y: `T x n`, in model units.
        query: `T x q x e`, encoded.
        steps: How many steps of SGD; may be 0.
        step_size: Their size.
    """
    start = [layer.detach() for layer in network.layers]
    layers = [layer.expand(len(X), *layer.shape) for layer in start]
    if X.shape[1] > 0 and steps > 0:
        x, y = X.to(start[0]).expand(steps, *X.shape), Y.to(start[0]).expand(steps, *Y.shape)
        layers = adapt_layers(start, network.activation, x, y, step_size).layers
    return stacked_output(layers, query.to(start[0]), network.activation).squeeze(-1).double()
