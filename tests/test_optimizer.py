"""Ask and tell."""

import math
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from torch import Tensor

from metabo.constraint import Constraint
from metabo.objective import affine
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import SpaceError
from metabo.surrogates import MixturePriorGP

Observe = Callable[..., tuple[Tensor, Tensor]]
Made = Callable[..., Prior]


def bowl(x: dict[str, float]) -> float:
    """Largest, 0, at (1, 0.7)."""
    return -((x["x1"] - 1) ** 2) / 4 - 8 * (x["x2"] - 0.7) ** 2


def run(optimizer: Optimizer, function: Callable[[dict[str, float]], float], count: int) -> list:
    asked = []
    for _ in range(count):
        asked.append(optimizer.ask())
        optimizer.tell(asked[-1], function(asked[-1]))
    return asked


@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")  # these priors know no bowls
class TestAsk:
    def test_optimises(self, make_prior: Made) -> None:
        prior = make_prior(broad=0.9, offset=-3.0, scale=2.0)
        optimizer = Optimizer(prior, seed=0)
        run(optimizer, bowl, 12)
        assert len(optimizer) == 12
        assert optimizer.best()[1] > -0.1

    @pytest.mark.parametrize("trained_to_minimize", [False, True])
    @pytest.mark.parametrize("minimize", [None, False, True])
    def test_directions(
        self, make_prior: Made, trained_to_minimize: bool, minimize: bool | None
    ) -> None:
        # A Prior that minimises has learned the negative of Y, so offset and scale are of that.
        prior = make_prior(broad=0.9, offset=-3.0, scale=2.0, minimize=trained_to_minimize)
        optimizer = Optimizer(prior, seed=0, minimize=minimize)
        down = trained_to_minimize if minimize is None else minimize
        sign = -1.0 if trained_to_minimize else 1.0
        same = down == trained_to_minimize
        target = bowl if same else (lambda x: -6 - bowl(x))
        run(optimizer, lambda x: sign * target(x), 10)
        x, y = optimizer.best()
        assert y == sign * target(x)
        values = sign * optimizer.model.train_targets
        assert y == (values.min() if down else values.max())
        assert abs(y - sign * (0.0 if same else -6.0)) < 0.3

    @pytest.mark.parametrize("trained_to_minimize", [False, True])
    def test_objective_is_in_the_users_units(
        self, make_prior: Made, trained_to_minimize: bool
    ) -> None:
        prior = make_prior(broad=0.9, offset=-3.0, scale=2.0, minimize=trained_to_minimize)
        sign = -1.0 if trained_to_minimize else 1.0
        seen = []

        def near_minus_two(Y: Tensor, X: Tensor) -> Tensor:
            assert Y.shape[:-1] == X.shape[:-1]
            seen.append(Y.mean().item())
            return -(sign * Y.squeeze(-1) + 2).abs() - 0.01 * X[..., 0]

        optimizer = Optimizer(prior, seed=0, objective=near_minus_two)
        run(optimizer, lambda x: sign * bowl(x), 5)
        x, y = optimizer.best()
        assert sign * y == pytest.approx(-2, abs=0.4)
        assert y == sign * bowl(x)
        assert all(sign * value < 3 for value in seen)

    def test_the_first_point_is_where_the_prior_expects_most(self, prior: Prior) -> None:
        first = prior.space.to_tensor(Optimizer(prior, seed=0).ask())
        grid = prior.space.sample(2000, seed=5)
        model = MixturePriorGP(grid[:0], grid[:0, :1], prior)
        assert model.posterior(first).mean >= model.posterior(grid).mean.max() - 1e-3

    def test_mixed_space(self, mixed_prior: Prior) -> None:
        def function(x: dict) -> float:
            bonus = {"rbf": 0.0, "linear": 1.0, "poly": 0.5}[x["kernel"]]
            return 3 + bonus - abs(x["depth"] - 4) / 3 - abs(math.log10(x["rate"]) + 2)

        optimizer = Optimizer(mixed_prior, seed=0)
        asked = run(optimizer, function, 14)
        for x in asked:
            mixed_prior.space.check(mixed_prior.space.to_tensor(x))
            assert isinstance(x["depth"], int)
            assert isinstance(x["rate"], float)
            assert x["kernel"] in {"rbf", "linear", "poly"}
        assert optimizer.best()[1] > 3.4

    @pytest.mark.parametrize("objective", [None, lambda Y, X: Y.squeeze(-1) - 0.1 * X[..., 0]])
    def test_the_seed_decides(self, prior: Prior, objective: Callable | None) -> None:
        first, second, other = (
            run(Optimizer(prior, seed=seed, objective=objective), bowl, 2) for seed in (0, 0, 1)
        )
        assert first == second
        assert first != other

    def test_asking_twice_changes_nothing(self, prior: Prior) -> None:
        optimizer = Optimizer(prior, seed=0)
        state = torch.get_rng_state()
        assert optimizer.ask() == optimizer.ask()
        assert len(optimizer) == 0
        assert torch.equal(torch.get_rng_state(), state)


class TestCandidates:
    @pytest.mark.parametrize("kind", ["tensor", "frame", "dicts"])
    def test_each_is_proposed_once(self, prior: Prior, kind: str) -> None:
        points = prior.space.sample(6, seed=2)
        dicts = prior.space.to_dicts(points)
        candidates = {"tensor": points, "frame": pd.DataFrame(dicts), "dicts": dicts}[kind]
        optimizer = Optimizer(prior, candidates=candidates)
        asked = run(optimizer, bowl, 6)
        assert sorted(x["x1"] for x in asked) == sorted(x["x1"] for x in dicts)
        with pytest.raises(RuntimeError, match="all 6 candidates"):
            optimizer.ask()

    def test_measured_elsewhere_counts_too(self, prior: Prior) -> None:
        points = prior.space.sample(3, seed=2)
        optimizer = Optimizer(prior, candidates=points)
        for x in prior.space.to_dicts(points[:2]):
            optimizer.tell(x, 1.0)
        assert optimizer.ask() == prior.space.to_dicts(points[2:])[0]
        optimizer.tell(prior.space.to_dicts(prior.space.sample(1, seed=8))[0], 2.0)
        assert optimizer.ask() == prior.space.to_dicts(points[2:])[0]

    def test_the_best_is_found_soon(self, mixed_prior: Prior) -> None:
        points = mixed_prior.space.sample(200, seed=2)
        optimizer = Optimizer(mixed_prior, candidates=points)
        run(optimizer, lambda x: 3.0 + x["depth"] / 3, 10)
        assert optimizer.best()[0]["depth"] == 6

    def test_bad_candidates(self, prior: Prior) -> None:
        outside = prior.space.sample(3, seed=2)
        outside[1, 0] = 9.0
        with pytest.raises(SpaceError, match=r"candidates, row 1: input 'x1' is 9.0"):
            Optimizer(prior, candidates=outside)
        with pytest.raises(ValueError, match="N > 0"):
            Optimizer(prior, candidates=outside[:0])
        with pytest.raises(ValueError, match="candidates must be"):
            Optimizer(prior, candidates=outside[0])


class TestTell:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1.0", None])
    def test_values_that_are_no_finite_numbers(self, prior: Prior, value: object) -> None:
        optimizer = Optimizer(prior)
        with pytest.raises(ValueError, match=r"y .*x1"):
            optimizer.tell({"x1": 0.5, "x2": 0.5}, value)  # type: ignore[arg-type]
        assert len(optimizer) == 0

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            ({"x1": 0.5}, "x2"),
            ({"x1": 0.5, "x2": 0.5, "x3": 1.0}, "x3"),
            ({"x1": 4.5, "x2": 0.5}, "'x1' is 4.5, outside"),
            ({"x1": math.nan, "x2": 0.5}, "'x1'"),
        ],
    )
    def test_points_that_are_not_of_the_space(
        self, prior: Prior, x: dict[str, float], message: str
    ) -> None:
        optimizer = Optimizer(prior)
        with pytest.raises(SpaceError, match=message):
            optimizer.tell(x, 1.0)
        assert len(optimizer) == 0

    def test_unknown_category(self, mixed_prior: Prior) -> None:
        with pytest.raises(SpaceError, match="cubic"):
            Optimizer(mixed_prior).tell({"rate": 0.1, "depth": 2, "kernel": "cubic"}, 1.0)

    def test_who_changes_the_observations_changes_a_copy(self, prior: Prior) -> None:
        optimizer = Optimizer(prior, constraints={"c": Constraint(prior, high=1.0)})
        optimizer.tell({"x1": 0.5, "x2": 0.5}, 3.0, constraints={"c": 0.0})
        for tensor in (*optimizer.observations, optimizer.constrained):
            tensor.add_(0.25)
        assert optimizer.best() == ({"x1": 0.5, "x2": 0.5}, 3.0)
        assert optimizer.constrained.item() == 0

    def test_points_that_were_not_asked_for(self, prior: Prior) -> None:
        optimizer = Optimizer(prior, seed=0)
        optimizer.tell({"x1": -4.0, "x2": 0.0}, -5.0)
        optimizer.tell({"x1": 1.0, "x2": 0.7}, 2.0)
        assert optimizer.best() == ({"x1": 1.0, "x2": 0.7}, 2.0)
        assert optimizer.model.train_targets.tolist() == [-5.0, 2.0]

    def test_duplicates_and_constant_values(self, prior: Prior) -> None:
        optimizer = Optimizer(prior, seed=0)
        for _ in range(8):
            optimizer.tell({"x1": 0.5, "x2": 0.5}, 3.0)
        prior.space.check(prior.space.to_tensor(optimizer.ask()))
        run(optimizer, lambda x: 3.0, 5)
        assert optimizer.best()[1] == 3.0

    def test_nothing_told_yet(self, prior: Prior) -> None:
        with pytest.raises(RuntimeError, match="nothing has been told"):
            Optimizer(prior).best()


def test_an_objective_is_never_minimised(prior: Prior) -> None:
    with pytest.raises(ValueError, match="negate it"):
        Optimizer(prior, objective=lambda Y, X: Y.squeeze(-1), minimize=True)


@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")
@pytest.mark.parametrize("trained_to_minimize", [False, True])
@pytest.mark.parametrize("count", [None, 20])
def test_an_objective_has_to_be_defined(
    make_prior: Made, trained_to_minimize: bool, count: int | None
) -> None:
    prior = make_prior(broad=0.1, minimize=trained_to_minimize)
    candidates = None if count is None else prior.space.sample(count, seed=0)
    optimizer = Optimizer(
        prior, candidates=candidates, objective=lambda Y, X: (Y.squeeze(-1) + 0.5).log()
    )
    for i, y in enumerate((2.0, -1.0, 5.0)):
        optimizer.tell({"x1": float(i), "x2": 0.5}, y)
    with pytest.raises(ValueError, match=r"NaN where the response is -1: .*clamp_min"):
        optimizer.best()
    with pytest.raises(ValueError, match="NaN where the response is -"):
        optimizer.ask()


def test_an_affine_objective_has_to_be_defined_too(prior: Prior) -> None:
    optimizer = Optimizer(prior, objective=affine(lambda Y, X: Y.squeeze(-1) * X[..., 0].log()))
    with pytest.raises(ValueError, match="the objective is NaN"):
        optimizer.ask()


def test_a_suggestion_takes_one_thread_and_gives_the_others_back(prior: Prior) -> None:
    """Beside work on all cores, the threads of small products would wait for each other."""
    seen = []

    def objective(y: Tensor, x: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        return y.squeeze(-1)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Optimizer(prior, candidates=prior.space.sample(20, seed=0), objective=objective).ask()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_earlier_observations_move_the_next_point(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 6)
    optimizer = Optimizer(prior, seed=0)
    first = optimizer.ask()
    for x, y in zip(prior.space.to_dicts(X), Y, strict=True):
        optimizer.tell(x, float(y))
    assert optimizer.ask() != first
