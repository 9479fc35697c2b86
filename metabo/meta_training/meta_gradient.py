"""What tells one meta-learning algorithm from another, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

from torch import Tensor, nn

from metabo.meta_training.learner import Learner


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
