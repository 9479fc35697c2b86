"""A task, a batch of tasks as tensors, and a family that tasks come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from metabo.space import InputSpace


@dataclass(frozen=True, eq=False)
class Task:
    """One function to optimise: its inputs, its observations and, if known, the true function.

    Attributes:
        name: What errors and tables call it.
        space: Its inputs.
        X: `n x d`, float64, in the user's units.
        Y: `n x 1`, float64; larger is better.
        function: The noise-free function, `n x d -> n x 1`, if known.
        parameters: What makes this task differ from others of a closed-form family, if known.

    Raises:
        ValueError: If shapes do not fit or a value is not finite.
        SpaceError: If X is outside the space.
    """

    name: str
    space: InputSpace
    X: Tensor
    Y: Tensor
    function: Callable[[Tensor], Tensor] | None = None
    parameters: dict[str, float] | None = None

    def __post_init__(self) -> None:
        # On the CPU, where families draw from their tasks; meta-training moves what it needs.
        for name in ("X", "Y"):
            values = torch.as_tensor(getattr(self, name), dtype=torch.float64, device="cpu")
            object.__setattr__(self, name, values)
        if self.X.ndim != 2 or self.Y.shape != (len(self.X), 1):
            raise ValueError(
                f"task {self.name!r}: X must be n x d and Y n x 1, but they are "
                f"{tuple(self.X.shape)} and {tuple(self.Y.shape)}"
            )
        self.space.check(self.X, name=f"task {self.name!r}: X")
        if not self.Y.isfinite().all():
            row = int(self.Y.isfinite().logical_not().nonzero()[0, 0])
            value = self.Y[row].item()
            raise ValueError(f"task {self.name!r}: Y is {value} in row {row}; repair or remove it")

    def __len__(self) -> int:
        return len(self.X)

    def subset(self, indices: Tensor | Sequence[int] | slice) -> Self:
        """The same task with only some of its observations."""
        if not isinstance(indices, slice):
            indices = torch.as_tensor(indices, dtype=torch.long, device="cpu")
        return replace(self, X=self.X[indices], Y=self.Y[indices])


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """T tasks as tensors, padded to the n observations of the longest.

    Attributes:
        X: `T x n x d` (or `x e` when encoded); padding repeats the task's first row, so that it is
            always a legal point.
        Y: `T x n`; padding is 0.
        counts: How many observations each task has, long, `T`.

    Raises:
        ValueError: If shapes do not fit.
    """

    X: Tensor
    Y: Tensor
    counts: Tensor

    def __post_init__(self) -> None:
        if (
            self.X.ndim != 3
            or self.Y.shape != self.X.shape[:2]
            or self.counts.shape != self.Y.shape[:1]
        ):
            raise ValueError(
                f"X must be T x n x d, Y T x n and counts T, but they are {tuple(self.X.shape)}, "
                f"{tuple(self.Y.shape)} and {tuple(self.counts.shape)}"
            )
        if self.counts.dtype != torch.long:
            raise TypeError(f"counts must be of dtype long, not {self.counts.dtype}")

    @classmethod
    def from_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Stack tasks of any lengths.

        Raises:
            ValueError: If there is no task, or one has no observations.
        """
        if not tasks:
            raise ValueError("no tasks: give at least one")
        for task in tasks:
            refuse_empty(task)
        counts = torch.tensor([len(task) for task in tasks])
        longest = int(counts.max())
        X = torch.stack([torch.cat([t.X, t.X[:1].expand(longest - len(t), -1)]) for t in tasks])
        Y = torch.stack([torch.cat([t.Y[:, 0], t.Y.new_zeros(longest - len(t))]) for t in tasks])
        return cls(X, Y, counts)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def mask(self) -> Tensor:
        """Which entries are observations, not padding, `T x n`."""
        return torch.arange(self.Y.shape[1], device=self.Y.device) < self.counts.unsqueeze(-1)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """The same tasks on another device or in another floating-point type."""
        X, Y = self.X.to(device=device, dtype=dtype), self.Y.to(device=device, dtype=dtype)
        return replace(self, X=X, Y=Y, counts=self.counts.to(device=device))

    def select(self, indices: Tensor | Sequence[int] | slice) -> Self:
        """Only some of the tasks."""
        if not isinstance(indices, slice):
            indices = torch.as_tensor(indices, device=self.Y.device)
        return replace(self, X=self.X[indices], Y=self.Y[indices], counts=self.counts[indices])

    def some(self, num_tasks: int, num_points: int, generator: torch.Generator) -> Self:
        """At most so many tasks and observations of each, drawn without replacement.

        Args:
            num_tasks: How many tasks.
            num_points: How many observations of each.
            generator: On the device of the batch.
        """
        chosen = torch.randperm(len(self), generator=generator, device=generator.device)
        return self.select(chosen[:num_tasks]).some_observations(num_points, generator)

    def some_observations(self, num_points: int, generator: torch.Generator) -> Self:
        """At most so many observations of each task, drawn without replacement."""
        keys = torch.rand(self.Y.shape, generator=generator, device=generator.device)
        keys = keys.to(self.Y.device)
        order = torch.where(self.mask, keys, 2.0).argsort(-1)[:, :num_points]
        X = self.X.gather(1, order.unsqueeze(-1).expand(-1, -1, self.X.shape[-1]))
        counts = self.counts.clamp_max(num_points)
        return replace(self, X=X, Y=self.Y.gather(1, order), counts=counts)

    def minibatch(
        self, num_tasks: int, num_points: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw tasks, and observations of each, without waiting for the device.

        Tasks are drawn without replacement; if there are fewer than `num_tasks`, each comes up as
        often as the others, give or take one. Observations are drawn with replacement, so tasks of
        any length fit.

        Args:
            num_tasks: How many tasks, t.
            num_points: How many observations of each, b.
            generator: On the device of the batch.

        Returns:
            X (`t x b x d`) and Y (`t x b`).
        """
        device, rounds = self.Y.device, -(-num_tasks // len(self))
        keys = torch.rand(rounds, len(self), generator=generator, device=device)
        tasks = keys.argsort(dim=-1).flatten()[:num_tasks].unsqueeze(-1)
        rows = torch.rand(num_tasks, num_points, generator=generator, device=device)
        rows = (rows * self.counts[tasks]).long()
        return self.X[tasks, rows], self.Y[tasks, rows]


class TaskFamily(ABC):
    """A distribution over tasks that can be sampled.

    Attributes:
        space: The inputs that all tasks share.
    """

    space: InputSpace

    @abstractmethod
    def tasks(self, num_tasks: int, num_points: int, *, seed: int) -> list[Task]:
        """Draw tasks, each with `num_points` observations; a table has at most its own."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the family is, as JSON-able values, for the provenance of a Prior."""

    def batch(self, num_tasks: int, num_points: int, *, seed: int) -> TaskBatch:
        """The observations of the same tasks as `tasks` gives, stacked, in the user's units."""
        return TaskBatch.from_tasks(self.tasks(num_tasks, num_points, seed=seed))


def refuse_empty(task: Task) -> None:
    """Raise if a task has nothing to learn from."""
    if len(task) == 0:
        raise ValueError(f"task {task.name!r} has no observations; leave it out")
