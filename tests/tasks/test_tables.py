"""Families that are tables: reading frames of any kind, and clear errors for bad ones."""

import json
from typing import Any

import ConfigSpace as CS
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabo.space import InputSpace, SpaceError
from metabo.tasks import TableFamily, Task

NAN, INF = float("nan"), float("inf")


def runs() -> pd.DataFrame:
    """Three data sets, 3, 2 and 1 runs long, in mixed order; one run twice."""
    return pd.DataFrame(
        {
            "dataset": ["iris", "wine", "iris", "adult", "wine", "iris"],
            "C": [0.001, 0.1, 1000.0, 1.0, 10.0, 0.001],
            "depth": [3, 5, 4, 9, 1, 3],
            "kernel": ["rbf", "poly", "poly", "rbf", "rbf", "rbf"],
            "accuracy": [0.5, 0.6, 0.7, 0.8, 0.9, 0.51],
            "comment": [None, "x", None, "y", "z", None],
        }
    )


INPUTS = ["C", "depth", "kernel"]


def family(frame: pd.DataFrame, **changes: Any) -> TableFamily:
    columns: dict[str, Any] = {"task": "dataset", "inputs": INPUTS, "output": "accuracy"}
    return TableFamily.from_frame(frame, **(columns | changes))


class TestFromFrame:
    def test_ragged_tasks(self) -> None:
        made = family(runs())
        assert made.names == ("iris", "wine", "adult")
        assert len(made) == 3
        iris, wine, adult = made.tasks()
        assert [len(iris), len(wine), len(adult)] == [3, 2, 1]
        assert iris.Y[:, 0].tolist() == [0.5, 0.7, 0.51]
        assert made.space.to_dicts(wine.X) == [
            {"C": 0.1, "depth": 5, "kernel": "poly"},
            {"C": 10.0, "depth": 1, "kernel": "rbf"},
        ]
        assert made.space.names == ("C", "depth", "kernel")
        assert made.space.log_dims == (0,)
        assert made.space.integer_dims == (1,)
        assert made.space.categorical_dims == (2,)

    def test_the_frame_is_not_changed(self) -> None:
        frame = runs()
        family(frame, minimize=True)
        pd.testing.assert_frame_equal(frame, runs())

    @pytest.mark.parametrize("index", [[7] * 6, list("abcdef"), [5, 4, 3, 2, 1, 0]])
    def test_any_index(self, index: list[Any]) -> None:
        frame = runs().set_index(pd.Index(index))
        for task, expected in zip(family(frame).tasks(), family(runs()).tasks(), strict=True):
            assert torch.equal(task.X, expected.X)
            assert torch.equal(task.Y, expected.Y)

    @given(st.permutations(range(6)))
    @settings(max_examples=30, deadline=None)
    def test_the_order_of_rows_does_not_matter(self, order: list[int]) -> None:
        made = family(runs().iloc[order])
        assert sorted(made.names) == ["adult", "iris", "wine"]
        for task in family(runs()).tasks():
            found = made.only(task.name).tasks()[0]
            rows = {tuple(row) for row in torch.cat([task.X, task.Y], dim=1).tolist()}
            assert {tuple(row) for row in torch.cat([found.X, found.Y], dim=1).tolist()} == rows
            assert len(found) == len(task)

    def test_all_other_columns_are_inputs_by_default(self) -> None:
        made = family(runs().drop(columns="comment"), inputs=None)
        assert made.space.names == ("C", "depth", "kernel")

    def test_declared_space(self) -> None:
        declared = CS.ConfigurationSpace()
        declared.add(
            CS.Float("C", (1e-4, 1e4), log=True),
            CS.Float("depth", (1.0, 20.0)),
            CS.Categorical("kernel", ["rbf", "poly", "linear"]),
        )
        for space in (declared, InputSpace(declared, ["kernel", "C", "depth"])):
            for inputs in (None, INPUTS):
                made = family(runs(), space=space, inputs=inputs)
                assert made.space.integer_dims == ()
                assert made.space.categories["kernel"] == ("rbf", "poly", "linear")
                assert made.space.to_dicts(made.tasks()[0].X)[0]["C"] == 0.001
        assert made.space.names == ("kernel", "C", "depth")

    def test_minimize_turns_the_output(self) -> None:
        made = family(runs(), minimize=True)
        assert made.minimize
        assert made.only("iris").minimize
        assert made.describe()["minimize"]
        assert torch.equal(made.tasks()[0].Y, -family(runs()).tasks()[0].Y)
        assert not family(runs()).minimize

    def test_constant_output_works(self) -> None:
        made = family(runs().assign(accuracy=1.0))
        assert (made.batch(3, 3, seed=0).Y[made.batch(3, 3, seed=0).mask] == 1).all()

    def test_duplicate_rows_work(self) -> None:
        frame = pd.concat([runs(), runs()])
        assert [len(task) for task in family(frame).tasks()] == [6, 4, 2]

    def test_constant_input_works(self) -> None:
        made = family(runs().assign(C=2.5, kernel="rbf"))
        Z = made.space.encode(made.tasks()[0].X)
        assert Z.isfinite().all()
        assert (Z[:, 0] == 0).all()

    def test_one_task_of_one_row_works(self) -> None:
        made = family(runs().iloc[3:4])
        assert made.names == ("adult",)
        assert made.batch(1, 10, seed=0).X.shape == (1, 1, 3)

    @pytest.mark.parametrize(
        ("values", "names"),
        [
            ([1, 2, 1, 3, 2, 1], ("1", "2", "3")),
            (pd.Series([1, 2, 1, 3, 2, 1], dtype="Int64"), ("1", "2", "3")),
            ([True, False, True, True, False, True], ("True", "False")),
            (pd.Categorical(list("abacba"), categories=list("xcba")), ("a", "b", "c")),
            (pd.Series(list("abacba"), dtype="string"), ("a", "b", "c")),
        ],
    )
    def test_dtypes_of_the_task_column(self, values: Any, names: tuple[str, ...]) -> None:
        assert family(runs().assign(dataset=values)).names == names

    def test_dtypes_of_the_other_columns(self) -> None:
        frame = runs().astype(
            {"C": "Float64", "depth": "Int64", "kernel": "category", "accuracy": "object"}
        )
        assert family(frame).space == family(runs()).space
        assert torch.equal(
            family(frame).batch(3, 3, seed=0).Y, family(runs()).batch(3, 3, seed=0).Y
        )
        frame = runs().astype({"C": "object", "depth": "float32", "kernel": "string"})
        assert family(frame).space == family(runs()).space

    def test_from_a_csv_file(self, tmp_path: Any) -> None:
        runs().to_csv(tmp_path / "runs.csv", index=False)
        made = family(pd.read_csv(tmp_path / "runs.csv"))
        assert made.space == family(runs()).space


class TestBadFrames:
    @pytest.mark.parametrize("column", ["task", "output"])
    def test_wrong_column(self, column: str) -> None:
        message = (
            f"no {column} column 'datasets': did you mean 'dataset'. there are: 'dataset', 'C'"
        )
        with pytest.raises(ValueError, match=message):
            family(runs(), **{column: "datasets"})

    def test_wrong_input(self) -> None:
        with pytest.raises(ValueError, match="no input column 'dept': did you mean 'depth'"):
            family(runs(), inputs=["C", "dept"])
        with pytest.raises(ValueError, match="no input column 'zzz': there are"):
            family(runs(), inputs=["zzz"])

    def test_inputs_that_are_no_list(self) -> None:
        with pytest.raises(TypeError, match=r"a list of column names, such as \['C'\]"):
            family(runs(), inputs="C")
        with pytest.raises(ValueError, match="name at least one"):
            family(runs(), inputs=[])

    def test_a_column_with_two_roles(self) -> None:
        with pytest.raises(ValueError, match="column 'accuracy' is asked for 2 times"):
            family(runs(), inputs=["C", "accuracy"])
        with pytest.raises(ValueError, match="column 'C' is asked for 2 times"):
            family(runs(), inputs=["C", "C"])

    def test_two_columns_of_one_name(self) -> None:
        frame = runs().rename(columns={"comment": "C"})
        with pytest.raises(ValueError, match="more than one column 'C'"):
            family(frame)

    def test_no_frame_and_no_rows(self) -> None:
        with pytest.raises(TypeError, match="expected a pandas DataFrame, got a dict"):
            TableFamily.from_frame(runs().to_dict(), task="dataset", output="accuracy")
        with pytest.raises(ValueError, match="the table has no rows"):
            family(runs().iloc[:0])

    @pytest.mark.parametrize("value", [NAN, INF, -INF, None])
    def test_output_that_is_not_finite(self, value: float | None) -> None:
        frame = runs()
        frame.loc[4, "accuracy"] = value
        with pytest.raises(
            ValueError, match=r"task 'wine', row 4: the output 'accuracy' is .*repair"
        ):
            family(frame)

    def test_rows_are_counted_whatever_the_index(self) -> None:
        frame = runs().set_index(pd.Index(list("abcdef")))
        frame.loc["e", "accuracy"] = NAN
        with pytest.raises(ValueError, match="row 4: the output 'accuracy' is nan"):
            family(frame)

    def test_output_that_is_no_number(self) -> None:
        frame = runs().astype({"accuracy": object})
        frame.loc[3, "accuracy"] = "failed"
        with pytest.raises(ValueError, match=r"task 'adult', row 3: the output .* is 'failed'"):
            family(frame)

    def test_columns_that_are_called_by_numbers(self) -> None:
        frame = runs().rename(columns={"C": 0})
        with pytest.raises(ValueError, match=r"input column 0 is called by no text"):
            family(frame, inputs=[0, "depth"])

    @pytest.mark.parametrize("unit", [pd.Timedelta("1s"), 1j])
    def test_durations_and_complex_values_are_no_numbers(self, unit: Any) -> None:
        frame = runs()
        frame["accuracy"] = np.arange(len(frame)) * unit
        with pytest.raises(ValueError, match=r"holds no numbers but (Timedelta|complex)"):
            family(frame)

    @pytest.mark.parametrize("dtype", ["object", "string", "category"])
    def test_missing_task(self, dtype: str) -> None:
        frame = runs()
        frame.loc[2, "dataset"] = None
        with pytest.raises(ValueError, match="row 2: no task in 'dataset'"):
            family(frame.astype({"dataset": dtype}))

    def test_tasks_of_mixed_types(self) -> None:
        frame = runs().assign(dataset=pd.Series([1, "1", 1, 2, 2, 2], dtype=object))
        with pytest.raises(ValueError, match="'dataset' mixes types"):
            family(frame)

    @pytest.mark.parametrize("column", INPUTS)
    def test_missing_input(self, column: str) -> None:
        frame = runs().astype({column: object})
        frame.loc[1, column] = None
        with pytest.raises(SpaceError, match=f"task 'wine', row 1: input '{column}' is missing"):
            family(frame)
        with pytest.raises(SpaceError, match=f"task 'wine', row 1: input '{column}' is missing"):
            family(frame, space=family(runs()).space)

    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            ("C", 1e9, "task 'adult', row 3: input 'C' is 1000000000.0, outside"),
            ("C", INF, "task 'adult', row 3: input 'C' is inf"),
            ("depth", 2.5, "task 'adult', row 3: input 'depth' is 2.5, but only whole numbers"),
            (
                "kernel",
                "sigmoid",
                "task 'adult', row 3: input 'kernel' is 'sigmoid'; .* one of 'poly'",
            ),
        ],
    )
    def test_outside_the_declared_space(self, column: str, value: Any, message: str) -> None:
        frame = runs().astype({column: object})
        frame.loc[3, column] = value
        with pytest.raises(SpaceError, match=message) as caught:
            family(frame, space=family(runs()).space)
        assert caught.value.row == 3

    def test_space_of_other_inputs(self) -> None:
        with pytest.raises(SpaceError, match=r"the space has the inputs \['C', .*but inputs are"):
            family(runs(), space=family(runs()).space, inputs=["C", "depth"])
        with pytest.raises(ValueError, match="no input column 'x'"):
            family(runs(), space=InputSpace.from_bounds((0, 1)), inputs=None)


class TestTableFamily:
    def test_only_and_without(self) -> None:
        made = family(runs())
        assert made.without("wine").names == ("iris", "adult")
        assert made.without(["wine", "iris"]).names == ("adult",)
        assert made.only(["adult", "iris"]).names == ("iris", "adult")
        assert made.only("adult").space is made.space
        assert made.names == ("iris", "wine", "adult")

    def test_unknown_names(self) -> None:
        for method in (family(runs()).only, family(runs()).without):
            with pytest.raises(
                ValueError, match=r"no task 'wines': did you mean 'wine'. there are"
            ):
                method(["iris", "wines"])
        with pytest.raises(ValueError, match="no tasks: give at least one"):
            family(runs()).without(["iris", "wine", "adult"])

    def test_refuses_tasks_that_do_not_fit(self) -> None:
        space = InputSpace.from_bounds((0, 1))
        task = Task("a", space, torch.zeros(1, 1), torch.zeros(1, 1))
        with pytest.raises(ValueError, match="no tasks: give at least one"):
            TableFamily([], space)
        with pytest.raises(ValueError, match="two tasks are called 'a'"):
            TableFamily([task, task], space)
        with pytest.raises(ValueError, match="task 'a' has no observations"):
            TableFamily([task.subset([])], space)
        with pytest.raises(ValueError, match="task 'a' has another space"):
            TableFamily([task], InputSpace.from_bounds((0, 2)))
        assert TableFamily([task], InputSpace.from_bounds((0, 1))).names == ("a",)

    def test_describe_is_json(self) -> None:
        described = json.loads(json.dumps(family(runs()).describe()))
        assert described["kind"] == "TableFamily"
        assert described["num_tasks"] == 3
        assert described["num_observations"] == 6
        assert described["tasks"] == ["iris", "wine", "adult"]
        assert InputSpace.from_json(described["space"]) == family(runs()).space


def long(num_tasks: int = 6, num_points: int = 20) -> TableFamily:
    """Tasks whose Y counts the rows of the table."""
    n = num_tasks * num_points
    x = np.random.default_rng(0).uniform(size=n)
    frame = pd.DataFrame({"t": np.arange(n) % num_tasks, "x": x, "y": np.arange(n, dtype=float)})
    return TableFamily.from_frame(frame, task="t", inputs=["x"], output="y")


class TestDraw:
    def test_at_most_its_own(self) -> None:
        batch = family(runs()).batch(100, 100, seed=0)
        assert batch.counts.tolist() == [3, 2, 1]
        for i, task in enumerate(family(runs()).tasks()):
            assert (
                batch.Y[i][batch.mask[i]].sort().values.tolist()
                == task.Y[:, 0].sort().values.tolist()
            )

    def test_the_first_observations_of_a_sorted_table_are_not_those_of_a_batch(self) -> None:
        batch = long().batch(100, 100, seed=0)
        for task, X, Y in zip(long().tasks(), batch.X, batch.Y, strict=True):
            order = Y.argsort()
            assert not torch.equal(Y, task.Y[:, 0])
            assert torch.equal(Y[order], task.Y[:, 0])
            assert torch.equal(X[order], task.X)

    def test_few_points_are_a_random_part_without_repeats(self) -> None:
        made = long()
        drawn = made.tasks(6, 5, seed=0)
        firsts = []
        for task, full in zip(drawn, made.tasks(), strict=True):
            assert len(task) == 5
            assert len(task.Y.unique()) == 5
            assert set(task.Y[:, 0].tolist()) <= set(full.Y[:, 0].tolist())
            firsts.append(torch.equal(task.Y, full.Y[:5]))
        assert not any(firsts)

    def test_ragged_tasks_keep_what_they_have(self) -> None:
        assert family(runs()).batch(3, 2, seed=0).counts.tolist() == [2, 2, 1]

    def test_few_tasks_are_a_random_part_without_repeats(self) -> None:
        chosen = [{task.name for task in long().tasks(3, 5, seed=seed)} for seed in range(20)]
        assert all(len(names) == 3 for names in chosen)
        assert set().union(*chosen) == set(long().names)

    def test_every_row_comes_up_equally_often(self) -> None:
        made = long(1, 10)
        rows = torch.cat([made.tasks(1, 3, seed=seed)[0].Y for seed in range(1000)])
        counts = rows.unique(return_counts=True)[1]
        assert counts.tolist() == pytest.approx([300] * 10, abs=65)

    def test_one_seed_one_draw(self) -> None:
        first, again, other = (long().batch(3, 5, seed=seed) for seed in (0, 0, 1))
        assert torch.equal(first.X, again.X)
        assert torch.equal(first.Y, again.Y)
        assert not torch.equal(first.X, other.X)

    def test_refuses_none(self) -> None:
        with pytest.raises(ValueError, match="ask for at least 1"):
            long().tasks(0, 5, seed=0)
        with pytest.raises(ValueError, match="ask for at least 1"):
            long().tasks(5, 0, seed=0)
