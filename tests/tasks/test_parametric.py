"""Families in closed form: their equations, distributions, and what a user's function may be."""

import json
import math
from typing import Any

import ConfigSpace as CS
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor

from metabo.space import InputSpace, SpaceError
from metabo.tasks import FunctionFamily, LogisticFamily, NormalFamily, Task, TaskBatch

RANGES = {"a": (1.0, 2.0), "b": (-1.0, 1.0)}
SQUARE = [[-1.0, -1.0], [1.0, 1.0]]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def line(X: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a * X + b


class TestLogisticFamily:
    def test_defaults(self) -> None:
        family = LogisticFamily()
        assert family.parameters == {"L": (1, 10), "k": (1, 10), "x0": (-1, 1)}
        assert family.space.bounds.tolist() == [[-4], [4]]
        assert family.noise_sd == 0.05

    @given(
        st.floats(1, 10),
        st.floats(1, 10),
        st.floats(-1, 1),
        st.floats(-4, 4),
    )
    @settings(max_examples=50, deadline=None)
    def test_equation(self, L: float, k: float, x0: float, x: float) -> None:
        parameters = {"L": L, "k": k, "x0": x0}
        tensors = {name: double([value]) for name, value in parameters.items()}
        value = LogisticFamily().evaluate(tensors, double([[[x]]]))
        assert value.item() == pytest.approx(L / (1 + math.exp(-k * (x - x0))))

    def test_does_not_overflow(self) -> None:
        family = LogisticFamily(k=(1e4, 1e4), bounds=(-1e3, 1e3))
        values = family.evaluate(family.draw(2, seed=0), double([[[-1e3], [1e3]]] * 2))
        assert values[:, 0].tolist() == [0, 0]

    def test_ranges_can_be_chosen(self) -> None:
        family = LogisticFamily(L=(2, 3), k=(1, 1), x0=(5, 6), bounds=(0, 10), noise_sd=0)
        drawn = family.draw(100, seed=0)
        assert 2 <= drawn["L"].min() <= drawn["L"].max() <= 3
        assert (drawn["k"] == 1).all()
        task = family.tasks(1, 5, seed=0)[0]
        assert task.function is not None
        assert torch.equal(task.function(task.X), task.Y)


class TestNormalFamily:
    @given(st.floats(1, 10), st.floats(-1, 1), st.floats(0.5, 2), st.floats(-4, 4))
    @settings(max_examples=50, deadline=None)
    def test_equation(self, L: float, mu: float, sd: float, x: float) -> None:
        parameters = {"L": L, "mu": mu, "sd": sd}
        tensors = {name: double([value]) for name, value in parameters.items()}
        value = NormalFamily().evaluate(tensors, double([[[x]]]))
        assert value.item() == pytest.approx(L * math.exp(-((x - mu) ** 2) / (2 * sd**2)))

    def test_refuses_a_width_of_0(self) -> None:
        with pytest.raises(ValueError, match="a width must be positive"):
            NormalFamily(sd=(0, 1))


@pytest.mark.parametrize("family", [LogisticFamily(), NormalFamily()], ids=["logistic", "normal"])
class TestDistribution:
    def test_parameters_are_uniform_and_independent(self, family: FunctionFamily) -> None:
        drawn = family.draw(4000, seed=0)
        unit = []
        for name, (low, high) in family.parameters.items():
            assert drawn[name].shape == (4000,)
            assert drawn[name].dtype == torch.float64
            unit.append((drawn[name] - low) / (high - low))
            assert kstest(unit[-1].numpy(), "uniform").pvalue > 0.001
        correlations = torch.corrcoef(torch.stack(unit))
        assert (correlations - torch.eye(3)).abs().max() < 0.06

    def test_points_are_uniform_and_noise_is_normal(self, family: FunctionFamily) -> None:
        batch = family.batch(200, 50, seed=1)
        assert kstest((batch.X.flatten().numpy() + 4) / 8, "uniform").pvalue > 0.001
        truth = family.evaluate(family.draw(200, seed=1), batch.X)
        noise = (batch.Y - truth).flatten().numpy() / 0.05
        assert kstest(noise, "norm").pvalue > 0.001

    def test_tasks_and_batch_are_the_same_data(self, family: FunctionFamily) -> None:
        tasks, batch = family.tasks(4, 6, seed=2), family.batch(4, 6, seed=2)
        stacked = TaskBatch.from_tasks(tasks)
        assert torch.equal(stacked.X, batch.X)
        assert torch.equal(stacked.Y, batch.Y)
        assert torch.equal(stacked.counts, batch.counts)

    def test_a_task_knows_its_truth(self, family: FunctionFamily) -> None:
        drawn = family.draw(3, seed=2)
        for t, task in enumerate(family.tasks(3, 6, seed=2)):
            assert task.parameters == {name: value[t].item() for name, value in drawn.items()}
            assert task.function is not None
            values = task.function(task.X)
            assert values.shape == (6, 1)
            assert 0 < (values - task.Y).abs().max() < 0.05 * 6

    def test_one_seed_one_draw(self, family: FunctionFamily) -> None:
        first, again, other = (family.batch(3, 5, seed=seed) for seed in (0, 0, 1))
        assert torch.equal(first.X, again.X)
        assert torch.equal(first.Y, again.Y)
        assert not torch.equal(first.X, other.X)

    def test_leaves_the_global_seed_alone(self, family: FunctionFamily) -> None:
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        family.batch(3, 5, seed=1)
        assert torch.equal(torch.rand(1), expected)

    def test_names_are_unique(self, family: FunctionFamily) -> None:
        tasks = family.tasks(3, 1, seed=0) + family.tasks(3, 1, seed=1)
        assert len({task.name for task in tasks}) == 6

    def test_describe_is_json(self, family: FunctionFamily) -> None:
        described = json.loads(json.dumps(family.describe()))
        assert described["kind"] == type(family).__name__
        assert described["noise_sd"] == 0.05
        assert described["parameters"]["L"] == [1, 10]
        assert InputSpace.from_json(described["space"]) == family.space


class TestFunctionFamily:
    @pytest.mark.parametrize(
        "function",
        [
            line,
            lambda X, a, b: (a * X + b).squeeze(-1),
            lambda X, a, b: a * X.numpy() + b.numpy(),
            lambda X, a, b: np.multiply(a, X) + b,
            lambda X, a, b: (a.item() * X + b.item())[:, 0].tolist(),
            lambda X, a, b: a * X + b if b > 0 else b + a * X,
        ],
        ids=["n x 1", "n", "numpy", "numpy on tensors", "list", "branch"],
    )
    def test_any_way_to_write_a_function(self, function: Any) -> None:
        family = FunctionFamily(function, RANGES, (-1, 1))
        expected = FunctionFamily(line, RANGES, (-1, 1)).batch(5, 7, seed=0)
        batch = family.batch(5, 7, seed=0)
        assert torch.allclose(batch.Y, expected.Y)
        task = family.tasks(5, 7, seed=0)[3]
        assert task.function is not None
        assert torch.allclose(task.function(task.X), expected.Y[3].unsqueeze(-1))

    def test_plain_pytorch_is_called_once_for_all_tasks(self) -> None:
        calls = []

        def counted(X: Tensor, a: Tensor, b: Tensor) -> Tensor:
            calls.append(X.shape)
            return a * X + b

        family = FunctionFamily(counted, RANGES, (-1, 1))
        calls.clear()
        family.batch(50, 7, seed=0)
        assert calls == [(7, 1)]

    def test_several_inputs(self) -> None:
        family = FunctionFamily(
            lambda X, a, b: a * X[:, 0] ** 2 + b * X[:, 1], RANGES, SQUARE, names=["u", "v"]
        )
        assert family.space.names == ("u", "v")
        batch, drawn = family.batch(5, 7, seed=0), family.draw(5, seed=0)
        a, b = drawn["a"].unsqueeze(-1), drawn["b"].unsqueeze(-1)
        assert torch.allclose(batch.Y, a * batch.X[..., 0] ** 2 + b * batch.X[..., 1])

    def test_a_space_of_any_types(self) -> None:
        space = CS.ConfigurationSpace()
        space.add(CS.Float("rate", (1e-4, 1.0), log=True), CS.Categorical("kind", ["p", "q"]))
        family = FunctionFamily(
            lambda X, a, b: torch.where(X[:, 1] == 1, a, b) * X[:, 0].log(),
            RANGES,
            InputSpace(space, ["rate", "kind"]),
        )
        batch = family.batch(20, 50, seed=0)
        family.space.check(batch.X)
        assert (batch.X[..., 0] < 1e-2).double().mean().item() == pytest.approx(0.5, abs=0.05)

    def test_without_noise(self) -> None:
        task = FunctionFamily(line, RANGES, (0, 1)).tasks(1, 4, seed=0)[0]
        assert task.parameters is not None
        assert torch.allclose(task.Y, task.parameters["a"] * task.X + task.parameters["b"])

    def test_without_parameters(self) -> None:
        family = FunctionFamily(lambda X: X**2, {}, (0, 1))
        batch = family.batch(3, 4, seed=0)
        assert torch.equal(batch.Y, batch.X[..., 0] ** 2)
        assert family.draw(3, seed=0) == {}

    @pytest.mark.parametrize(
        ("function", "shape"),
        [
            (lambda X, a, b: a * X, r"\(5, 2\)"),
            (lambda X, a, b: X.sum(), r"\(\)"),
            (lambda X, a, b: X.sum(0), r"\(2,\)"),
            (lambda X, a, b: X.T, r"\(2, 5\)"),
            (lambda X, a, b: X.sum(-1)[None, :], r"\(1, 5\)"),
        ],
    )
    def test_wrong_shape(self, function: Any, shape: str) -> None:
        message = rf"returned the shape {shape} for X of \(5, 2\); it must return one value for"
        with pytest.raises(ValueError, match=message):
            FunctionFamily(function, RANGES, SQUARE)

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda X, a: a * X, r"failed: TypeError.*unexpected keyword argument 'b'"),
            (lambda X, a, b, c: a * X, r"failed: TypeError.*'c'"),
            (lambda X, a, b: 1 / 0, "failed: ZeroDivisionError"),
            (lambda X, a, b: None, "failed: "),
            (lambda X, a, b: "text", "failed: "),
        ],
    )
    def test_a_function_that_fails(self, function: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            FunctionFamily(function, RANGES, (0, 1))

    def test_values_that_are_not_finite(self) -> None:
        def root(X: Tensor, a: Tensor, b: Tensor) -> Tensor:
            return X.sqrt()

        with pytest.raises(ValueError, match=r"root is nan at x = \[-.*\] with {'a': "):
            FunctionFamily(root, RANGES, (-1, 1))

    def test_what_goes_wrong_later_is_named_too(self) -> None:
        family = FunctionFamily(lambda X, a, b: a / X, RANGES, (0.5, 1))
        with pytest.raises(ValueError, match=r"is inf at x = \[0.0\]"):
            family.evaluate(family.draw(1, seed=0), torch.zeros(1, 1, 1))

    @pytest.mark.parametrize(
        ("ends", "message"),
        [
            ((2, 1), "parameter 'a' has the range .*low <= high"),
            ((0, math.inf), "give finite numbers"),
            ((math.nan, 1), "give finite numbers"),
            ((1,), "give .low, high."),
            (3, "give .low, high."),
            (("x", "y"), "give .low, high."),
        ],
    )
    def test_bad_ranges(self, ends: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            FunctionFamily(line, {"a": ends, "b": (0, 1)}, (0, 1))

    def test_reserved_name(self) -> None:
        with pytest.raises(ValueError, match="no parameter may be called 'X'"):
            FunctionFamily(line, {"X": (0, 1)}, (0, 1))

    @pytest.mark.parametrize("noise_sd", [-1, math.nan, math.inf])
    def test_bad_noise(self, noise_sd: float) -> None:
        with pytest.raises(ValueError, match="noise_sd"):
            FunctionFamily(line, RANGES, (0, 1), noise_sd=noise_sd)

    def test_bad_bounds(self) -> None:
        with pytest.raises(SpaceError, match="lower < upper"):
            FunctionFamily(line, RANGES, (1, 0))

    @pytest.mark.parametrize(("num_tasks", "num_points"), [(0, 5), (5, 0), (-1, 5)])
    def test_bad_sizes(self, num_tasks: int, num_points: int) -> None:
        with pytest.raises(ValueError, match="must be at least 1"):
            LogisticFamily().batch(num_tasks, num_points, seed=0)

    def test_tasks_can_be_given_on(self) -> None:
        task = LogisticFamily().tasks(1, 5, seed=0)[0]
        part = task.subset([0, 1])
        assert isinstance(part, Task)
        assert part.function is not None
        assert part.parameters == task.parameters
