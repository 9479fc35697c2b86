"""A column of values: its type and range, and its values as numbers."""

from typing import Any

import ConfigSpace as CS
import numpy as np
import pandas as pd
import pytest

from metabo.column import interval
from metabo.space import InputSpace, SpaceError

NAN, INF = float("nan"), float("inf")


def inferred(values: Any) -> Any:
    """The ConfigSpace type that a column of values is taken for."""
    frame = pd.DataFrame({"a": values})
    space = InputSpace.infer(frame, ["a"])
    space.check(space.to_tensor(frame))
    return space.configuration_space["a"]


class TestInfer:
    def test_order_and_facts(self) -> None:
        frame = pd.DataFrame({"b": [0.1, 0.5], "a": ["x", "y"], "y": [1, 2]})
        space = InputSpace.infer(frame, ["b", "a"])
        assert space.names == ("b", "a")
        assert space.categorical_dims == (1,)

    @pytest.mark.parametrize("values", [[0.5, 1.5, 2.0], np.linspace(0.001, 1, 50)])
    def test_floats(self, values: Any) -> None:
        found = inferred(values)
        assert isinstance(found, CS.UniformFloatHyperparameter)
        assert not found.log
        assert (found.lower, found.upper) == (min(values), max(values))

    @pytest.mark.parametrize("values", [range(1, 101), [0.0, 10.0, 100.0], [-5, 1000]])
    def test_whole_numbers(self, values: Any) -> None:
        found = inferred(list(values))
        assert isinstance(found, CS.UniformIntegerHyperparameter)
        assert not found.log

    @pytest.mark.parametrize("seed", range(5))
    def test_scale_of_random_values(self, seed: int) -> None:
        uniform = np.random.default_rng(seed).uniform(0, 1, 30)
        assert inferred(10 ** (6 * uniform - 6)).log
        assert not inferred(uniform * 100 + 0.001).log

    def test_scale_of_grids(self) -> None:
        assert inferred(np.geomspace(1e-5, 1, 6)).log
        assert inferred([2**i for i in range(4, 11)]).log
        assert isinstance(inferred([2**i for i in range(4, 11)]), CS.UniformIntegerHyperparameter)
        assert not inferred([1, 2, 4, 8]).log  # too narrow to matter
        assert not inferred([0.0, *np.geomspace(1e-5, 1, 6)]).log  # 0 has no logarithm
        assert not inferred([0.001, 1.0]).log  # two values say nothing

    def test_duplicates_do_not_change_the_scale(self) -> None:
        assert inferred(list(np.geomspace(1e-4, 1, 5)) + [1.0] * 50).log

    @pytest.mark.parametrize(
        ("values", "choices"),
        [
            (["b", "a", "b"], ("a", "b")),
            ([True, False], (False, True)),
            (pd.Series([True, False], dtype="boolean"), (False, True)),
            (pd.Series(["b", "a"], dtype="string"), ("a", "b")),
            (pd.Series(["b", "a"], dtype="object"), ("a", "b")),
            (pd.Series([3, 1], dtype="category"), (1, 3)),
            (pd.Categorical(["b"], categories=["b", "unused"]), ("b", "unused")),
            (["sqrt", 0.5], (0.5, "sqrt")),
            (["1", "2"], ("1", "2")),
        ],
    )
    def test_categories(self, values: Any, choices: tuple[Any, ...]) -> None:
        found = inferred(values)
        assert isinstance(found, CS.CategoricalHyperparameter)
        assert found.choices == choices

    def test_ordered_categories_are_ordinal(self) -> None:
        sizes = pd.Categorical(["L", "S"], categories=["S", "M", "L"], ordered=True)
        assert inferred(sizes).sequence == ("S", "M", "L")

    @pytest.mark.parametrize("dtype", ["object", "Int64", "Float64", "int8", "uint64", "float32"])
    def test_number_dtypes(self, dtype: str) -> None:
        found = inferred(pd.Series([1, 2, 4], dtype=dtype))
        assert isinstance(found, CS.UniformIntegerHyperparameter)
        assert (found.lower, found.upper) == (1, 4)

    def test_numbers_of_dtype_object(self) -> None:
        assert inferred(pd.Series([0.5, 1, np.float32(3)], dtype=object)).upper == 3

    @pytest.mark.parametrize("value", [5, 5.0, 0.25, "only", True])
    def test_an_input_that_never_varies(self, value: Any) -> None:
        frame = pd.DataFrame({"a": [value] * 3, "b": [1.0, 2.5, 3.0]})
        space = InputSpace.infer(frame, ["a", "b"])
        X = space.to_tensor(frame)
        index = 0 if 0 in space.numeric_dims else -1
        assert (space.encode(X)[:, index] == 0).all()
        assert space.to_dicts(X)[0]["a"] == value
        assert InputSpace.from_json(space.to_json()) == space
        assert (space.sample(5, seed=0)[:, 0] == X[0, 0]).all()

    def test_awkward_bounds_stay_legal(self) -> None:
        found = inferred([1 / 3, 0.1 + 0.2, 4.123456789012345678e-7])
        assert found.upper == pytest.approx(1 / 3)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([0.1, NAN], "row 1: input 'a' is missing"),
            (["x", None], "row 1: input 'a' is missing"),
            (pd.Series([1, None], dtype="Int64"), "row 1: input 'a' is missing"),
            ([0.1, INF], "'a' holds an infinite value"),
            ([(1, 2), (3, 4)], "'a' holds tuple values"),
            (pd.to_datetime(["2020-01-01", "2021-01-01"]), "'a' holds Timestamp values"),
            ([1e-15, 2e-15], "too narrow to hold; rescale"),
            ([], "no values to infer"),
        ],
    )
    def test_bad_columns(self, values: Any, message: str) -> None:
        with pytest.raises(SpaceError, match=message):
            inferred(values)

    def test_wrong_name(self) -> None:
        with pytest.raises(SpaceError, match="no column 'gama': did you mean 'gamma'"):
            InputSpace.infer(pd.DataFrame({"gamma": [1.0]}), ["gama"])


def test_a_log_scale_begins_above_zero() -> None:
    with pytest.raises(SpaceError, match="above 0, or no log scale"):
        interval("rate", 0, 1, log=True)
