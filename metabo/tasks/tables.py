"""A family that is a table of earlier runs."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from ConfigSpace import ConfigurationSpace
from torch import Tensor

from metabo.column import closest, numbers_of
from metabo.space import InputSpace, SpaceError
from metabo.tasks.columns import input_columns
from metabo.tasks.task import Task, TaskBatch, TaskFamily, refuse_empty


class TableFamily(TaskFamily):
    """Tasks that were observed before, each at points of its own and as often as it happened.

    Attributes:
        space: The inputs that all tasks share.
        minimize: Whether the user's output is to be minimised. Y of the tasks then is its negative,
            so that larger is better everywhere inside.

    Args:
        tasks: With different names, each with at least one observation.
        space: The inputs of all of them.
        minimize: Whether Y is the negative of the user's output; it is not changed here.

    Raises:
        ValueError: If there are no tasks, two have one name, or one has no observations or
            another space.
    """

    def __init__(self, tasks: Sequence[Task], space: InputSpace, *, minimize: bool = False) -> None:
        if not tasks:
            raise ValueError("no tasks: give at least one")
        for task in tasks:
            refuse_empty(task)
            if task.space != space:
                raise ValueError(
                    f"task {task.name!r} has another space:\n{task.space}\nnot\n{space}"
                )
        twice = [name for name, count in Counter(task.name for task in tasks).items() if count > 1]
        if twice:
            raise ValueError(f"two tasks are called {twice[0]!r}; give each its own name")
        self.space = space
        self.minimize = minimize
        self._tasks = tuple(tasks)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        task: str,
        output: str,
        inputs: Sequence[str] | None = None,
        space: InputSpace | ConfigurationSpace | None = None,
        minimize: bool = False,
    ) -> Self:
        """Read a table with one row for each observation, in any order.

        Args:
            frame: The table.
            task: The column that tells tasks apart.
            output: The column of what was measured.
            inputs: The columns of the inputs; default: those of the space, or all other columns.
            space: The inputs' types and ranges; default: `InputSpace.infer`.
            minimize: Whether a smaller output is better.

        Raises:
            TypeError: If the table is no pandas frame, or inputs is one string.
            ValueError: If a column is wrong, or a task or an output is missing or not finite.
            SpaceError: If an input is missing or outside the space.
        """
        if inputs is None and space is not None:
            inputs = _names(space)
        inputs = input_columns(frame, task, inputs, output)
        frame = frame.reset_index(drop=True)
        labels = _labels(frame[task])
        Y = _outputs(frame[output], labels)
        try:
            space = _space(frame, inputs, space)
            X = space.to_tensor(frame[list(space.names)])
        except SpaceError as error:
            if error.row is None:
                raise
            raise SpaceError(f"task {labels[error.row]!r}, {error}", error.row) from error
        Y = -Y if minimize else Y
        rows = pd.Series(labels).groupby(labels).indices
        # In the order in which tasks first come up.
        tasks = [Task(name, space, X[rows[name]], Y[rows[name]]) for name in dict.fromkeys(labels)]
        return cls(tasks, space, minimize=minimize)

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def names(self) -> tuple[str, ...]:
        """What the tasks are called, in the order of their first rows."""
        return tuple(task.name for task in self._tasks)

    def only(self, names: str | Sequence[str]) -> Self:
        """The same table with only some of its tasks.

        Raises:
            ValueError: If a name is unknown, or no task is left.
        """
        chosen = self._checked(names)
        kept = [task for task in self._tasks if task.name in chosen]
        return type(self)(kept, self.space, minimize=self.minimize)

    def without(self, names: str | Sequence[str]) -> Self:
        """The same table without some of its tasks.

        Raises:
            ValueError: If a name is unknown, or no task is left.
        """
        left_out = self._checked(names)
        return self.only([name for name in self.names if name not in left_out])

    def _checked(self, names: str | Sequence[str]) -> set[str]:
        chosen = {names} if isinstance(names, str) else {str(name) for name in names}
        for name in sorted(chosen - set(self.names)):
            raise ValueError(f"no task {name!r}: {closest(name, self.names)}")
        return chosen

    def tasks(
        self, num_tasks: int | None = None, num_points: int | None = None, *, seed: int = 0
    ) -> list[Task]:
        """The table's own tasks.

        Args:
            num_tasks: At most so many, drawn at random; default all.
            num_points: At most so many observations of each, drawn at random; default all.
            seed: The same seed draws the same.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = _draw(len(self), num_tasks, generator)
        return [
            # A whole task is not checked anew: with 200,000 of them it would take a minute.
            task
            if num_points is None or num_points >= len(task)
            else task.subset(_draw(len(task), num_points, generator))
            for task in (self._tasks[i] for i in chosen.tolist())
        ]

    def batch(self, num_tasks: int, num_points: int, *, seed: int) -> TaskBatch:
        """The observations of the same tasks as `tasks` gives, stacked, in the user's units.

        Those of each task are in random order: whoever goes on with the first few of a table that
        is sorted would see one corner of it.
        """
        stacked = super().batch(num_tasks, num_points, seed=seed)
        return stacked.some_observations(num_points, torch.Generator().manual_seed(seed))

    def describe(self) -> dict[str, Any]:
        """Kind, names of tasks, how many observations, and the inputs."""
        return {
            "kind": type(self).__name__,
            "num_tasks": len(self),
            "num_observations": sum(len(task) for task in self._tasks),
            "tasks": list(self.names),
            "minimize": self.minimize,
            "space": self.space.to_json(),
        }


def _draw(available: int, wanted: int | None, generator: torch.Generator) -> Tensor:
    """Indices of a random part, without replacement; all, in order, if there are no more."""
    if wanted is not None and wanted < 1:
        raise ValueError(f"asked for {wanted} tasks or observations; ask for at least 1")
    if wanted is None or wanted >= available:
        return torch.arange(available)
    return torch.randperm(available, generator=generator)[:wanted]


def _names(space: InputSpace | ConfigurationSpace) -> list[str]:
    return list(space.names) if isinstance(space, InputSpace) else list(space)


def _space(
    frame: pd.DataFrame, inputs: list[str], space: InputSpace | ConfigurationSpace | None
) -> InputSpace:
    """The user's space, if it has the inputs that were asked for, or what the values tell."""
    if space is None:
        return InputSpace.infer(frame, inputs)
    if set(_names(space)) != set(inputs):
        raise SpaceError(f"the space has the inputs {_names(space)}, but inputs are {inputs}")
    return space if isinstance(space, InputSpace) else InputSpace(space, inputs)


def _labels(column: pd.Series) -> list[str]:
    """The name of each row's task."""
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise ValueError(f"row {row}: no task in {column.name!r}; fill it in or drop the row")
    labels = [str(value) for value in column]
    if len(set(labels)) < column.nunique():
        raise ValueError(f"the task column {column.name!r} mixes types, such as 1 and '1'")
    return labels


def _outputs(column: pd.Series, labels: list[str]) -> Tensor:
    """The measured values, `n x 1`, float64."""
    values = numbers_of(column)
    if np.isnan(values).all() and column.notna().any():
        value = column.dropna().iloc[0]
        raise ValueError(
            f"the output {column.name!r} holds no numbers but {type(value).__name__} values, such "
            f"as {value!r}; turn them into numbers, or name another column"
        )
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        value = column.astype(object)[row]  # a plain float, not np.float64
        raise ValueError(
            f"task {labels[row]!r}, row {row}: the output {column.name!r} is {value!r}, "
            "not a finite number; repair or remove that row"
        )
    return torch.tensor(values, dtype=torch.float64).unsqueeze(-1)
