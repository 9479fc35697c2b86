"""Tasks, ragged batches of them, and minibatches."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metabo.space import InputSpace, SpaceError
from metabo.tasks import Task, TaskBatch

NAN, INF = float("nan"), float("inf")
SPACE = InputSpace.from_bounds([[0, 0], [10, 10]])


def task(n: int, name: str = "a", start: float = 0.0) -> Task:
    """n observations whose Y says which task (its start) and which row (its decimals) they are."""
    row = torch.arange(n, dtype=torch.float64)
    X = torch.stack([row / 10, torch.full_like(row, start)], dim=-1)
    return Task(name, SPACE, X, (start + row / 100).unsqueeze(-1))


def ragged(*counts: int) -> TaskBatch:
    return TaskBatch.from_tasks([task(n, str(i), float(i)) for i, n in enumerate(counts)])


class Operations(TorchDispatchMode):
    """Counts the tensor operations that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class TestTask:
    def test_is_held_in_double_precision(self) -> None:
        made = Task("a", SPACE, torch.ones(3, 2), torch.ones(3, 1))
        assert made.X.dtype == made.Y.dtype == torch.float64
        assert len(made) == 3

    @pytest.mark.parametrize(
        ("X", "Y"),
        [
            (torch.zeros(3, 2), torch.zeros(3)),
            (torch.zeros(3, 2), torch.zeros(2, 1)),
            (torch.zeros(3, 2), torch.zeros(3, 2)),
            (torch.zeros(6), torch.zeros(6, 1)),
        ],
    )
    def test_shapes(self, X: Tensor, Y: Tensor) -> None:
        with pytest.raises(ValueError, match="task 'a': X must be n x d and Y n x 1"):
            Task("a", SPACE, X, Y)

    def test_number_of_inputs(self) -> None:
        with pytest.raises(SpaceError, match=r"task 'a': X is 3 x 1, .* must be 2: x1, x2"):
            Task("a", SPACE, torch.zeros(3, 1), torch.zeros(3, 1))

    @pytest.mark.parametrize("value", [NAN, INF, -INF])
    def test_values_that_are_not_finite(self, value: float) -> None:
        Y = torch.tensor([[0.0], [value], [value]])
        with pytest.raises(ValueError, match=f"task 'a': Y is {value} in row 1"):
            Task("a", SPACE, torch.zeros(3, 2), Y)
        X = torch.tensor([[0.0, 0.0], [0.0, value]])
        with pytest.raises(SpaceError, match=f"task 'a': X, row 1: input 'x2' is {value}"):
            Task("a", SPACE, X, torch.zeros(2, 1))

    def test_outside_the_space(self) -> None:
        with pytest.raises(SpaceError, match=r"task 'a': X, row 0: input 'x1' is 11.0, outside"):
            Task("a", SPACE, torch.tensor([[11.0, 0.0]]), torch.zeros(1, 1))

    def test_subset(self) -> None:
        full = task(5)
        for indices in ([4, 0], torch.tensor([4, 0]), slice(0, 2)):
            part = full.subset(indices)
            assert part.name == "a"
            assert torch.equal(part.X, full.X[indices])
            assert torch.equal(part.Y, full.Y[indices])
        assert len(full.subset([])) == 0
        assert len(full) == 5

    def test_is_immutable(self) -> None:
        with pytest.raises(AttributeError):
            task(2).name = "b"  # type: ignore[misc]


class TestTaskBatch:
    def test_padding(self) -> None:
        batch = ragged(2, 4, 1)
        assert len(batch) == 3
        assert batch.X.shape == (3, 4, 2)
        assert batch.counts.tolist() == [2, 4, 1]
        assert batch.mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
        assert (batch.Y[~batch.mask] == 0).all()
        assert torch.equal(batch.X[0, 2:], batch.X[0, :1].expand(2, 2))
        for t, n in enumerate([2, 4, 1]):
            assert torch.equal(batch.X[t, :n], task(n, start=float(t)).X)
            assert torch.equal(batch.Y[t, :n], task(n, start=float(t)).Y[:, 0])

    def test_refuses_no_tasks_and_empty_tasks(self) -> None:
        with pytest.raises(ValueError, match="no tasks"):
            TaskBatch.from_tasks([])
        with pytest.raises(ValueError, match="task 'b' has no observations; leave it out"):
            TaskBatch.from_tasks([task(2), task(0, "b")])

    def test_shapes(self) -> None:
        X, Y, counts = torch.zeros(2, 3, 1), torch.zeros(2, 3), torch.tensor([3, 3])
        for bad in [(X[0], Y, counts), (X, Y.unsqueeze(-1), counts), (X, Y, counts[:1])]:
            with pytest.raises(ValueError, match="X must be T x n x d, Y T x n and counts T"):
                TaskBatch(*bad)
        with pytest.raises(TypeError, match="dtype long"):
            TaskBatch(X, Y, counts.float())

    def test_to_and_select(self) -> None:
        batch = ragged(2, 4, 1).to("cpu", torch.float32)
        assert batch.X.dtype == batch.Y.dtype == torch.float32
        assert batch.counts.dtype == torch.long
        chosen = batch.select([2, 0])
        assert chosen.counts.tolist() == [1, 2]
        assert torch.equal(chosen.X, batch.X[[2, 0]])
        assert batch.select(slice(1, 2)).counts.tolist() == [4]
        assert batch.select(torch.tensor([True, False, True])).counts.tolist() == [2, 1]


class TestMinibatch:
    def test_some_observations_are_of_their_task_and_none_twice(self) -> None:
        counts = torch.tensor([2, 5])
        X = torch.arange(10.0).view(2, 5, 1)
        batch = TaskBatch(X, X[..., 0] + 100, counts)
        found = batch.some_observations(3, torch.Generator().manual_seed(0))
        assert found.counts.tolist() == [2, 3]
        assert found.X.shape == (2, 3, 1)
        for t, count in enumerate(found.counts.tolist()):
            rows = found.X[t, :count, 0].tolist()
            assert len(set(rows)) == count
            assert set(rows) <= set(X[t, : int(counts[t]), 0].tolist())
            assert found.Y[t, :count].tolist() == [row + 100 for row in rows]

    @pytest.mark.parametrize(("wanted", "drawn"), [(2, 2), (9, 4)])
    def test_some_tasks_and_observations(self, wanted: int, drawn: int) -> None:
        X = torch.arange(24.0).view(4, 6, 1)  # of task t, 6 t to 6 t + 5
        batch = TaskBatch(X, X[..., 0] + 100, torch.full((4,), 6))
        draws = [batch.some(wanted, 3, torch.Generator().manual_seed(i)) for i in range(20)]
        tasks = [(found.X[..., 0] // 6).int() for found in draws]
        assert all(found.shape == (drawn, 3) for found in tasks)
        assert all((found == found[:, :1]).all() for found in tasks)
        assert all(len(found[:, 0].unique()) == drawn for found in tasks)
        assert len({tuple(found[:, 0].tolist()) for found in tasks}) > 1
        assert all(torch.equal(found.Y, found.X[..., 0] + 100) for found in draws)

    def test_rows_are_observations_of_their_task(self) -> None:
        batch = ragged(2, 7, 1, 3)
        X, Y = batch.minibatch(4, 50, torch.Generator().manual_seed(0))
        assert X.shape == (4, 50, 2)
        assert Y.shape == (4, 50)
        start, row = X[..., 1], X[..., 0] * 10
        assert torch.allclose(Y, start + row / 100)
        assert (row.round().long() < batch.counts[start.long()]).all()
        assert (start == start[:, :1]).all()

    @pytest.mark.parametrize("num_tasks", [1, 3, 5])
    def test_tasks_are_not_repeated_while_there_are_enough(self, num_tasks: int) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            X, _ = ragged(2, 2, 2, 2, 2).minibatch(num_tasks, 1, generator)
            assert len(X[:, 0, 1].unique()) == num_tasks

    def test_few_tasks_come_up_equally_often(self) -> None:
        X, _ = ragged(2, 2, 2).minibatch(8, 1, torch.Generator().manual_seed(0))
        assert sorted(X[:, 0, 1].unique(return_counts=True)[1].tolist()) == [2, 3, 3]

    def test_tasks_and_rows_are_uniform(self) -> None:
        generator = torch.Generator().manual_seed(0)
        batch = ragged(4, 2, 4, 4)
        X = torch.cat([batch.minibatch(2, 100, generator)[0] for _ in range(400)])
        tasks = X[:, 0, 1].unique(return_counts=True)[1] / len(X)
        assert tasks.tolist() == pytest.approx([0.25] * 4, abs=0.05)
        for t, n in enumerate([4, 2, 4, 4]):
            rows = X[X[:, 0, 1] == t][..., 0].flatten().unique(return_counts=True)[1].double()
            assert (rows / rows.sum()).tolist() == pytest.approx([1 / n] * n, abs=0.02)

    def test_one_seed_one_minibatch(self) -> None:
        batch = ragged(3, 5)
        first, again, other = (
            batch.minibatch(2, 6, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        )
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])
        assert not torch.equal(first[0], other[0])

    def test_leaves_the_global_seed_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        ragged(3, 5).minibatch(2, 6, torch.Generator().manual_seed(1))
        assert torch.equal(torch.rand(1), expected)

    def test_a_handful_of_operations_none_of_which_waits_for_the_device(self) -> None:
        batch, generator = ragged(3, 5, 4), torch.Generator().manual_seed(0)
        with Operations() as operations:
            batch.minibatch(4, 6, generator)
        assert sum(operations.names.values()) <= 20
        # What reads a value, or has a shape that depends on one.
        waits = {"_local_scalar_dense", "nonzero", "masked_select"}
        assert not waits & operations.names.keys()
