"""The input space: values to numbers and back, encoding, legality, inference, JSON."""

import json
import math
from decimal import Decimal
from typing import Any

import ConfigSpace as CS
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metabo.space import InputSpace, SpaceError

NAN, INF = float("nan"), float("inf")


def mixed() -> InputSpace:
    """One input of every type; the order of the columns is not the alphabetical one."""
    space = CS.ConfigurationSpace()
    space.add(
        CS.Float("rate", (1e-5, 1.0), log=True),
        CS.Float("dropout", (0.0, 0.5)),
        CS.Integer("depth", (1, 9)),
        CS.Integer("width", (8, 512), log=True),
        CS.CategoricalHyperparameter("kernel", ["rbf", "linear", 3]),
        CS.CategoricalHyperparameter("bias", [False, True]),
        CS.OrdinalHyperparameter("size", ["S", "M", "L"]),
        CS.Constant("epochs", 10),
        CS.Constant("device", "cpu"),
    )
    names = ["rate", "dropout", "depth", "width", "kernel", "bias", "size", "epochs", "device"]
    return InputSpace(space, names)


def space_of(*inputs: Any) -> InputSpace:
    space = CS.ConfigurationSpace()
    space.add(*inputs)
    return InputSpace(space)


ROW = {
    "rate": 0.01,
    "dropout": 0.25,
    "depth": 3,
    "width": 64,
    "kernel": "linear",
    "bias": True,
    "size": "M",
    "epochs": 10,
    "device": "cpu",
}


class TestConstruction:
    def test_facts_of_a_mixed_space(self) -> None:
        space = mixed()
        assert space.dim == 9
        assert space.numeric_dims == (0, 1, 2, 3, 6, 7)
        assert space.integer_dims == (2, 3, 6)
        assert space.categorical_dims == (4, 5, 8)
        assert space.log_dims == (0, 3)
        assert space.encoded_dim == 6 + 3 + 2 + 1
        assert space.bounds.dtype == torch.float64
        assert space.bounds[:, 4].tolist() == [0, 2]
        assert space.bounds[:, 6].tolist() == [0, 2]
        assert space.bounds[:, 7].tolist() == [10, 10]
        assert space.categories["kernel"] == ("rbf", "linear", 3)
        assert "rate" in repr(space)

    def test_default_order_is_that_of_config_space(self) -> None:
        space = CS.ConfigurationSpace({"b": (0.0, 1.0), "a": (0, 5)})
        assert InputSpace(space).names == ("a", "b")

    def test_is_independent_of_the_space_it_was_made_from(self) -> None:
        source = CS.ConfigurationSpace({"a": (0.0, 1.0)})
        space = InputSpace(source)
        source.add(CS.Float("b", (0.0, 1.0)))
        space.configuration_space.add(CS.Float("c", (0.0, 1.0)))
        assert list(space.configuration_space) == ["a"]

    def test_refuses_conditions_and_forbidden_clauses(self) -> None:
        space = CS.ConfigurationSpace({"a": (0.0, 1.0), "b": (0.0, 1.0)})
        space.add(CS.GreaterThanCondition(space["b"], space["a"], 0.5))
        with pytest.raises(SpaceError, match="conditions"):
            InputSpace(space)
        space = CS.ConfigurationSpace({"c": ["x", "y"]})
        space.add(CS.ForbiddenEqualsClause(space["c"], "y"))
        with pytest.raises(SpaceError, match="forbidden"):
            InputSpace(space)

    def test_refuses_what_is_no_space(self) -> None:
        with pytest.raises(TypeError, match="got a dict"):
            InputSpace({"a": (0, 1)})  # type: ignore[arg-type]
        with pytest.raises(SpaceError, match="no inputs"):
            InputSpace(CS.ConfigurationSpace())
        with pytest.raises(SpaceError, match="each once"):
            InputSpace(CS.ConfigurationSpace({"a": (0.0, 1.0)}), ["a", "a"])

    def test_refuses_choices_that_json_cannot_hold(self) -> None:
        space = CS.ConfigurationSpace()
        space.add(CS.CategoricalHyperparameter("when", [Decimal(1), Decimal(2)]))
        with pytest.raises(SpaceError, match="JSON"):
            InputSpace(space)

    def test_numpy_choices_become_plain_values(self) -> None:
        space = CS.ConfigurationSpace()
        space.add(CS.CategoricalHyperparameter("k", [np.int64(3), np.int64(5)]))
        value = InputSpace(space).to_dicts(torch.tensor([[1.0]]))[0]["k"]
        assert value == 5
        assert type(value) is int


class TestFromBounds:
    def test_one_input(self) -> None:
        space = InputSpace.from_bounds((-4, 4))
        assert space.names == ("x",)
        assert space.bounds.tolist() == [[-4], [4]]

    @pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
    def test_two_by_d(self, kind: Any) -> None:
        space = InputSpace.from_bounds(kind([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]))
        assert space.names == ("x1", "x2", "x3")
        assert space.bounds.tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_more_than_nine_inputs_keep_their_order(self) -> None:
        low = torch.arange(12.0)
        space = InputSpace.from_bounds(torch.stack([low, low + 1]))
        assert space.names[9] == "x10"
        assert space.bounds[0].tolist() == low.tolist()

    def test_names(self) -> None:
        assert InputSpace.from_bounds({"b": (0, 1), "a": (2, 3)}).names == ("b", "a")
        assert InputSpace.from_bounds((0, 1), ["dose"]).names == ("dose",)
        with pytest.raises(SpaceError, match="2 names for 1 inputs"):
            InputSpace.from_bounds((0, 1), ["a", "b"])
        with pytest.raises(SpaceError, match="must differ"):
            InputSpace.from_bounds([[0, 0], [1, 1]], ["a", "a"])

    @pytest.mark.parametrize(
        ("bounds", "message"),
        [
            ((1, 0), "lower < upper"),
            ((0, 0), "lower < upper"),
            ((0, INF), "lower < upper"),
            ((NAN, 1), "lower < upper"),
            ([(0, 1, 2)], "2 x d"),
            ([[], []], "2 x d"),
            (3.0, "2 x d"),
            ("ab", "give numbers"),
            ([(0, 1), (2,)], "give numbers"),
            ((0, 1e-15), "rescale"),
        ],
    )
    def test_bad_bounds(self, bounds: Any, message: str) -> None:
        with pytest.raises(SpaceError, match=message):
            InputSpace.from_bounds(bounds)


class TestJson:
    def test_round_trip(self) -> None:
        space = mixed()
        again = InputSpace.from_json(json.loads(json.dumps(space.to_json())))
        assert again == space
        assert hash(again) == hash(space)
        assert again.names == space.names
        assert torch.equal(again.bounds, space.bounds)
        assert again.to_dicts(space.to_tensor(ROW)) == [ROW]

    def test_different_spaces_differ(self) -> None:
        assert InputSpace.from_bounds((0, 1)) != InputSpace.from_bounds((0, 2))
        assert InputSpace.from_bounds((0, 1)) != "x"

    @given(
        st.lists(
            st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)),
            min_size=1,
            max_size=5,
        )
    )
    @settings(max_examples=30, deadline=None)
    def test_round_trip_of_any_bounds(self, ranges: list[tuple[float, float]]) -> None:
        space = InputSpace.from_bounds([[a for a, _ in ranges], [a + w for a, w in ranges]])
        again = InputSpace.from_json(json.loads(json.dumps(space.to_json())))
        assert torch.equal(again.bounds, space.bounds)
        # ConfigSpace rounds bounds to 13 decimals: what was given as a bound is still legal.
        space.check(torch.tensor([[a for a, _ in ranges], [a + w for a, w in ranges]]))


class TestValues:
    def test_numbers_and_back(self) -> None:
        space = mixed()
        X = space.to_tensor(ROW)
        assert X.dtype == torch.float64
        assert X.tolist() == [[0.01, 0.25, 3, 64, 1, 1, 1, 10, 0]]
        values = space.to_dicts(X)[0]
        assert values == ROW
        assert [type(value) for value in values.values()] == [type(v) for v in ROW.values()]

    def test_rows_in_any_form(self) -> None:
        space = mixed()
        X = space.to_tensor([ROW, ROW])
        assert X.shape == (2, 9)
        assert torch.equal(space.to_tensor(pd.DataFrame([ROW, ROW])), X)
        shuffled = pd.DataFrame([ROW, ROW], index=[7, 7])[list(reversed(space.names))]
        assert torch.equal(space.to_tensor(shuffled), X)

    def test_no_rows(self) -> None:
        space = mixed()
        assert space.to_tensor([]).shape == (0, 9)
        assert space.to_dicts(torch.zeros(0, 9)) == []

    @pytest.mark.parametrize("dtype", ["object", "category", "string"])
    def test_dtypes_of_categories(self, dtype: str) -> None:
        space = InputSpace(CS.ConfigurationSpace({"k": ["a", "b"]}))
        frame = pd.DataFrame({"k": pd.Series(["b", "a"], dtype=dtype)})
        assert space.to_tensor(frame).tolist() == [[1], [0]]

    @pytest.mark.parametrize("dtype", ["object", "category", "Int64", "Float64", "int8", "float32"])
    def test_dtypes_of_numbers(self, dtype: str) -> None:
        frame = pd.DataFrame({"x": pd.Series([1, 3], dtype=dtype)})
        assert InputSpace.from_bounds((0, 4)).to_tensor(frame).tolist() == [[1], [3]]

    def test_what_a_csv_file_made_of_categories(self) -> None:
        space = mixed()
        assert space.to_tensor(ROW | {"kernel": "3", "bias": "True"})[0, 4:6].tolist() == [2, 1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kernel": "rbg"}, "row 0: input 'kernel' is 'rbg'; it must be one of 'rbf', "),
            ({"kernel": None}, "input 'kernel' is missing"),
            ({"kernel": ["rbf"]}, "input 'kernel' is .'rbf'."),
            ({"rate": "fast"}, "input 'rate' is 'fast'; it must be a number"),
            ({"rate": NAN}, "input 'rate' is missing"),
            ({"rate": None}, "input 'rate' is missing"),
            ({"rate": INF}, "row 0: input 'rate' is inf, not a finite number"),
            ({"rate": 0.0}, "input 'rate' is 0.0, outside .1e-05, 1."),
            ({"depth": 10}, "input 'depth' is 10.0, outside .1, 9.; .*wider space"),
            ({"depth": 2.5}, "input 'depth' is 2.5, but only whole numbers"),
            ({"epochs": 11}, "input 'epochs' is 11.0, outside .10, 10."),
            ({"kernle": 1}, "row 0 has 'kernle', .* did you mean 'kernel'"),
        ],
    )
    def test_bad_values(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(SpaceError, match=message) as caught:
            mixed().to_tensor(ROW | change)
        assert caught.value.row in {0, None}

    def test_errors_name_the_row(self) -> None:
        with pytest.raises(SpaceError, match="row 2") as caught:
            mixed().to_tensor([ROW, ROW, ROW | {"rate": 7.0}])
        assert caught.value.row == 2
        with pytest.raises(SpaceError, match="row 1: input 'size'") as caught:
            mixed().to_tensor(pd.DataFrame([ROW, ROW | {"size": "XL"}]))
        assert caught.value.row == 1

    def test_missing_and_unknown_names(self) -> None:
        partial = {name: value for name, value in ROW.items() if name != "rate"}
        with pytest.raises(SpaceError, match="row 1 lacks the input 'rate'; give all of rate, "):
            mixed().to_tensor([ROW, partial])
        with pytest.raises(SpaceError, match="the table has 'score', which is no input"):
            mixed().to_tensor(pd.DataFrame([ROW | {"score": 1.0}]))

    def test_missing_values_of_nullable_dtypes(self) -> None:
        frame = pd.DataFrame({"x": pd.Series([1, None], dtype="Int64")})
        with pytest.raises(SpaceError, match="row 1: input 'x' is missing"):
            InputSpace.from_bounds((0, 4)).to_tensor(frame)

    def test_to_dicts_refuses_illegal_points(self) -> None:
        with pytest.raises(SpaceError, match="outside"):
            InputSpace.from_bounds((0, 1)).to_dicts(torch.tensor([[2.0]]))


class TestCheck:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_bounds_and_what_rounding_makes_of_them_are_legal(self, dtype: torch.dtype) -> None:
        for space in (mixed(), InputSpace.from_bounds([[1e-3, -1e6], [1 / 3, 0.1 + 0.2]])):
            space.check(space.bounds.to(dtype))
        InputSpace.from_bounds((0, 0.3)).check(torch.tensor([[0.1 + 0.2]], dtype=dtype))

    def test_clearly_outside_is_not(self) -> None:
        with pytest.raises(SpaceError):
            InputSpace.from_bounds((0, 1)).check(torch.tensor([[1 + 1e-6]], dtype=torch.float64))
        log = space_of(CS.Float("a", (1e-6, 1.0), log=True))
        with pytest.raises(SpaceError):
            log.check(torch.tensor([[0.9e-6]]))

    @pytest.mark.parametrize("value", [NAN, INF, -INF])
    def test_not_finite(self, value: float) -> None:
        X = torch.tensor([[0.0], [0.0], [0.0], [value]])
        with pytest.raises(SpaceError, match=r"points, row 3: input 'x' is .*not a finite"):
            InputSpace.from_bounds((-1, 1)).check(X, name="points")

    def test_shape(self) -> None:
        with pytest.raises(SpaceError, match="X is 5 x 2, but its last dimension must be 1: x"):
            InputSpace.from_bounds((0, 1)).check(torch.zeros(5, 2))
        with pytest.raises(SpaceError, match="a single number"):
            InputSpace.from_bounds((0, 1)).check(torch.tensor(0.0))
        InputSpace.from_bounds((0, 1)).check(torch.zeros(2, 3, 1))
        InputSpace.from_bounds((0, 1)).check(torch.zeros(0, 1))

    def test_index_outside_its_choices(self) -> None:
        X = mixed().to_tensor(ROW)
        X[0, 4] = 3
        with pytest.raises(SpaceError, match=r"'kernel' is 3.0, outside the indices 0 to 2"):
            mixed().check(X)


class TestEncode:
    def test_another_number_of_columns_is_refused(self) -> None:
        space = mixed()
        X = space.sample(2, seed=0)
        for wrong in (X[:, 1:], torch.cat([X, X[:, :1]], -1)):
            with pytest.raises(SpaceError, match=f"{wrong.shape[-1]} inputs in a space of"):
                space.encode(wrong)

    def test_inference_mode_leaves_nothing_behind(self) -> None:
        space = mixed()
        with torch.inference_mode():
            X = space.sample(2, seed=0)
            space.encode(X)
            space.check(X)
        X = X.clone().requires_grad_()
        assert torch.autograd.grad(space.encode(X).sum(), X)[0].isfinite().all()
        assert not space.bounds.is_inference()

    def test_numbers_go_to_unit_variance(self) -> None:
        space = mixed()
        low, high = space.encode(space.bounds)
        assert low[:5].tolist() == pytest.approx([-math.sqrt(3)] * 5)
        assert high[:5].tolist() == pytest.approx([math.sqrt(3)] * 5)
        Z = space.encode(space.sample(4096, seed=0))
        assert Z[:, :2].mean(0).abs().max() < 0.01
        assert Z[:, :2].var(0).tolist() == pytest.approx([1, 1], abs=0.01)

    def test_the_middle_of_a_log_scale_is_its_geometric_mean(self) -> None:
        space = space_of(CS.Float("a", (1e-4, 1.0), log=True))
        assert space.encode(torch.tensor([[1e-2]])).item() == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("count", [2, 3, 10])
    def test_random_categories_are_as_far_apart_as_random_numbers(self, count: int) -> None:
        space = InputSpace(CS.ConfigurationSpace({"k": [str(i) for i in range(count)]}))
        Z = space.encode(torch.arange(count, dtype=torch.float64).unsqueeze(-1))
        distances = torch.cdist(Z, Z)
        assert (distances**2).mean().item() == pytest.approx(2)  # of two uniform numbers: 2 Var = 2
        off_diagonal = distances[~torch.eye(count, dtype=torch.bool)]
        assert off_diagonal.tolist() == pytest.approx([off_diagonal[0].item()] * len(off_diagonal))
        assert Z.sum(0).abs().max() < 1e-12

    def test_what_never_varies_is_0(self) -> None:
        Z = mixed().encode(mixed().to_tensor(ROW))
        assert Z[0, 5].item() == 0  # epochs
        assert Z[0, -1].item() == 0  # device

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(), (5,), (2, 5), (0,)])
    def test_shapes_and_dtypes(self, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        space = mixed()
        X = space.to_tensor(ROW)[0].to(dtype).expand(*shape, 9)
        Z = space.encode(X)
        assert Z.shape == (*shape, space.encoded_dim)
        assert Z.dtype == dtype
        assert torch.equal(Z, space.encode(space.to_tensor(ROW)[0].to(dtype)).expand_as(Z))

    def test_decoding_gives_points_back(self) -> None:
        space = mixed()
        X = torch.cat([space.to_tensor(ROW), space.sample(200, seed=0)])
        found = space.decode(space.encode(X))
        assert torch.equal(found[0], X[0])  # digit by digit, where there are few
        torch.testing.assert_close(found, X, rtol=1e-11, atol=1e-12)
        assert torch.equal(space.decode(space.encode(X[:0])), X[:0])

    def test_gradient(self) -> None:
        space = mixed()
        X = space.to_tensor(ROW).requires_grad_()
        assert torch.autograd.gradcheck(space.encode, X)
        (gradient,) = torch.autograd.grad(space.encode(X).sum(), X)
        expected = [2 * math.sqrt(3) / (0.01 * math.log(1e5)), 2 * math.sqrt(3) / 0.5]
        assert gradient[0, :2].tolist() == pytest.approx(expected)
        assert gradient[0, list(space.categorical_dims)].abs().max() == 0

    def test_gradient_is_finite_where_a_linear_input_is_0(self) -> None:
        space = space_of(CS.Float("a", (1e-3, 1.0), log=True), CS.Float("b", (-1.0, 1.0)))
        X = torch.tensor([[0.1, 0.0], [0.1, -1.0]], requires_grad=True)
        (gradient,) = torch.autograd.grad(space.encode(X).sum(), X)
        assert gradient.isfinite().all()

    def test_under_vmap(self) -> None:
        space = mixed()
        X = space.sample(4, seed=1)
        assert torch.allclose(torch.func.vmap(space.encode)(X), space.encode(X))


class TestSample:
    @pytest.mark.parametrize("sobol", [True, False])
    def test_legal_and_reproducible(self, sobol: bool) -> None:
        space = mixed()
        X = space.sample(64, seed=3, sobol=sobol)
        space.check(X)
        assert X.shape == (64, 9)
        assert torch.equal(X, space.sample(64, seed=3, sobol=sobol))
        assert not torch.equal(X, space.sample(64, seed=4, sobol=sobol))

    def test_leaves_the_global_seed_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        mixed().sample(8, seed=3)
        assert torch.equal(torch.rand(1), expected)

    def test_integers_and_categories_are_uniform(self) -> None:
        X = mixed().sample(2**12, seed=0)
        for i, count in [(2, 9), (4, 3), (5, 2), (6, 3)]:
            shares = X[:, i].long().bincount() / len(X)
            shares = shares[shares > 0]
            assert shares.tolist() == pytest.approx([1 / count] * count, abs=0.01)

    def test_log_inputs_are_uniform_in_the_logarithm(self) -> None:
        X = mixed().sample(2**12, seed=0)
        assert (X[:, 0] < 1e-3).double().mean().item() == pytest.approx(2 / 5, abs=0.01)
        assert (X[:, 3] < 64).double().mean().item() == pytest.approx(1 / 2, abs=0.02)

    def test_none(self) -> None:
        assert mixed().sample(0, seed=0).shape == (0, 9)


@given(st.lists(st.floats(0, 1), min_size=9, max_size=9))
@settings(max_examples=60, deadline=None)
def test_round_trips_of_any_point(unit: list[float]) -> None:
    space = mixed()
    X = space.from_unit(torch.tensor([unit], dtype=torch.float64))
    space.check(X)
    assert torch.equal(space.snap(X), X)
    rows = space.to_dicts(X)
    assert torch.equal(space.to_tensor(rows), X)
    assert torch.equal(space.to_tensor(pd.DataFrame(rows)), X)
    assert space.to_dicts(space.to_tensor(rows)) == rows
    assert space.encode(X).abs().max() <= math.sqrt(3) + 1e-9


@given(st.lists(st.floats(-1e4, 1e4), min_size=9, max_size=9))
@settings(max_examples=60, deadline=None)
def test_snap_makes_anything_legal(values: list[float]) -> None:
    space = mixed()
    X: Tensor = space.snap(torch.tensor([[values]], dtype=torch.float64))
    space.check(X)
    space.to_dicts(X[0])
