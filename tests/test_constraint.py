"""Constraints on further outputs: their probability, and what they do to a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metabo.constraint import Constraint
from metabo.journal import JournalError
from metabo.optimizer import Optimizer, PriorCollapsedWarning
from metabo.prior import Prior
from metabo.space import InputSpace, SpaceError

pytestmark = pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")
Made = Callable[..., Prior]


@pytest.mark.parametrize("minimize", [False, True])
@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (-torch.inf, 3.0), (2.0, torch.inf)])
def test_the_probability_is_the_share_of_draws(
    make_prior: Made, observe: Callable, low: float, high: float, minimize: bool
) -> None:
    prior = make_prior(broad=0.1, minimize=minimize)
    X, Y = observe(prior, 3)
    constraint = Constraint(prior, low, high)
    values = -Y if minimize else Y
    model = constraint.surrogate(X, values.squeeze(-1))
    points = prior.space.sample(5, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = model.posterior(points).rsample(torch.Size([20_000])).squeeze(-1)
    draws = -draws if minimize else draws
    share = ((draws >= low) & (draws <= high)).double().mean(0)
    torch.testing.assert_close(
        constraint.log_probability(model, points).exp(), share, atol=0.015, rtol=0
    )


def test_far_from_the_range_there_is_still_a_gradient(prior: Prior) -> None:
    X = prior.space.sample(4, seed=0).requires_grad_()
    constraint = Constraint(prior, low=30.0)
    model = constraint.surrogate(X[:0].detach(), torch.empty(0, dtype=torch.float64))
    value = constraint.log_probability(model, X)
    value.sum().backward()
    assert value.isfinite().all()
    assert X.grad is not None
    assert X.grad.isfinite().all()
    assert (X.grad != 0).any()


def bowl(x: dict) -> float:
    return 5 - (x["x1"] - 2) ** 2 / 4


def test_the_best_that_is_allowed_is_found(make_prior: Made) -> None:
    """The objective is best at x1 = 2, where the further output x1 is more than the 0.5 allowed."""
    prior = make_prior(broad=0.1)
    optimizer = Optimizer(
        prior, constraints={"x": Constraint(make_prior(broad=0.1, seed=1), high=0.5)}
    )
    for _ in range(10):
        x = optimizer.ask()
        optimizer.tell(x, bowl(x), constraints={"x": x["x1"]})
    x, y = optimizer.best()
    assert x["x1"] <= 0.5
    assert y > bowl({"x1": 0.0})
    assert optimizer.met.sum() >= 4


def test_without_any_that_is_allowed_there_is_no_best(prior: Prior) -> None:
    optimizer = Optimizer(prior, constraints={"c": Constraint(prior, high=0.0)})
    for c in (3.0, 2.0):
        optimizer.tell(optimizer.ask(), 1.0, constraints={"c": c})
    with pytest.raises(RuntimeError, match="no observation has met the constraints"):
        optimizer.best()
    optimizer.tell({"x1": 0.0, "x2": 0.5}, -9.0, constraints={"c": -1.0})
    assert optimizer.best() == ({"x1": 0.0, "x2": 0.5}, -9.0)


def test_a_session_remembers_them(prior: Prior, tmp_path: Path) -> None:
    path, rules = tmp_path / "j.jsonl", {"c": Constraint(prior, high=0.0)}
    with Optimizer(prior, journal=path, constraints=rules) as optimizer:
        optimizer.tell({"x1": 0.0, "x2": 0.5}, 1.0, constraints={"c": -1.0})
        optimizer.tell({"x1": 1.0, "x2": 0.5}, 2.0, constraints={"c": 1.0})
    with Optimizer(prior, journal=path, constraints=rules) as optimizer:
        assert optimizer.met.tolist() == [True, False]
        assert optimizer.best()[1] == 1.0
    for other in (None, {"c": Constraint(prior, high=0.5)}):
        with pytest.raises(JournalError, match="constraints"):
            Optimizer(prior, journal=path, constraints=other)


@pytest.mark.parametrize("told", [None, {}, {"d": 1.0}, {"c": 1.0, "d": 1.0}, {"c": torch.nan}])
def test_each_observation_has_all_of_them(prior: Prior, told: dict | None) -> None:
    optimizer = Optimizer(prior, constraints={"c": Constraint(prior, high=0.0)})
    with pytest.raises(ValueError, match=r"constrained outputs are \['c'\]|c is nan"):
        optimizer.tell({"x1": 0.0, "x2": 0.5}, 1.0, constraints=told)
    assert len(optimizer) == 0


def test_ranges_that_make_no_sense(prior: Prior, make_prior: Made) -> None:
    for low, high in ((1.0, 1.0), (2.0, 1.0), (-torch.inf, torch.inf), (torch.nan, 1.0)):
        with pytest.raises(ValueError, match="low below high"):
            Constraint(prior, low, high)
    other = make_prior(InputSpace.from_bounds((0, 1)))
    with pytest.raises(SpaceError, match="prior of other inputs"):
        Optimizer(prior, constraints={"c": Constraint(other, high=1.0)})


@pytest.mark.filterwarnings("default::metabo.PriorCollapsedWarning")
def test_a_constrained_output_may_be_of_another_family(make_prior: Made, observe: Callable) -> None:
    prior = make_prior(broad=0.3)
    optimizer = Optimizer(prior, constraints={"heat": Constraint(make_prior(broad=0.3), high=9.0)})
    for x, y in zip(prior.space.to_dicts(observe(prior, 6)[0]), range(6), strict=True):
        optimizer.tell(x, 3.0, constraints={"heat": 500.0 * (-1) ** y})
    with pytest.warns(PriorCollapsedWarning, match="the constrained output 'heat' is") as caught:
        optimizer.ask(2)
    heat = [w for w in caught if "heat" in str(w.message)]
    assert [w.filename for w in heat] == [__file__]
    (model,), count = optimizer._proposer.models.of_constraints, prior.mixture.num_components
    assert model.prior.mixture.num_components == count + 1
