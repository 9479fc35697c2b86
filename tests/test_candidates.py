"""Candidates: which are left, and which is best, against scoring all of them anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import ConfigSpace as CS
import numpy as np
import pytest
import torch
from torch import Tensor

from metabo.acquisition_search import ExhaustedError, score_points
from metabo.candidates import Candidates
from metabo.mixture import fixed_points
from metabo.objective import Objective, affine
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import InputSpace
from metabo.surrogates import LogIncumbentImprovement, MixturePriorGP
from metabo.surrogates.kriging_believer import believe
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]
Made = Callable[..., Prior]

pytestmark = pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")


def bowl(x: dict[str, float]) -> float:
    return 3 - (x["x1"] - 1) ** 2 / 4 - 8 * (x["x2"] - 0.7) ** 2


def near_two(Y: Tensor, X: Tensor) -> Tensor:
    return -(Y.squeeze(-1) - 2).abs() - 0.1 * X[..., 0]


@affine
def benefit(Y: Tensor, X: Tensor) -> Tensor:
    return Y.squeeze(-1) - 0.3 * X[..., 0] - 0.1 * X[..., 1]


def anew(optimizer: Optimizer, points: Tensor, objective: Objective | None = None) -> dict:
    """The suggestion, by calling the acquisition function at each point that is left."""
    session = optimizer._session
    model = believe(optimizer.model, session.pending, session.failed, objective)
    acquisition = LogIncumbentImprovement(model, measured_once=True, objective=objective)
    taken = torch.cat([session.X, session.pending, session.failed])
    left = points[~(points[:, None] == taken).all(-1).any(-1)]
    best = left[score_points(acquisition, left).argmax()]
    return optimizer.prior.space.to_dicts(best[None])[0]


@pytest.mark.parametrize("objective", [None, near_two, benefit])
@pytest.mark.parametrize("warp", [None, Warp(2.0, 1.5, -0.4, 0.7)])
def test_suggestions_are_those_of_scoring_all_anew(
    make_prior: Made, warp: Warp | None, objective: Objective | None
) -> None:
    prior = make_prior(broad=0.3, offset=0.0, scale=1.0, warp=warp)
    points = prior.space.sample(200, seed=1)
    optimizer = Optimizer(prior, candidates=points, objective=objective)
    for _ in range(12):
        x = optimizer.ask()
        assert x == anew(optimizer, points, objective)
        optimizer.tell(x, bowl(x))


def test_pending_and_failed_points(prior: Prior, tmp_path: Path) -> None:
    points = prior.space.sample(200, seed=1)
    journal = tmp_path / "a.jsonl"
    optimizer = Optimizer(prior, candidates=points, journal=journal)
    for step in range(8):
        expected = anew(optimizer, points)
        first, _ = optimizer.ask(2)
        assert first == expected
        optimizer.tell(first, bowl(first), failed=False)
        if step % 3 == 1:
            optimizer.tell(optimizer.pending[0], failed=True)
        if step == 5:  # goes on from the journal with nothing kept
            optimizer.close()
            optimizer = Optimizer(prior, candidates=points, journal=journal)
    optimizer.close()


def test_goes_on_when_the_prior_is_wrong(make_prior: Made) -> None:
    prior = make_prior(broad=0.1)
    points = prior.space.sample(200, seed=1)
    optimizer = Optimizer(prior, candidates=points)
    for _ in range(6):
        x = optimizer.ask()
        assert x == anew(optimizer, points)
        optimizer.tell(x, 1000 * math.sin(2 * x["x1"]))
    assert optimizer.model.prior.mixture.num_components == 25


def test_categories_and_whole_numbers(mixed_prior: Prior) -> None:
    points = torch.cat([mixed_prior.space.sample(100, seed=1)] * 2)  # each of them twice
    optimizer = Optimizer(mixed_prior, candidates=points)
    for _ in range(8):
        x = optimizer.ask()
        assert x == anew(optimizer, points)
        optimizer.tell(x, 3.0 + x["depth"] / 3)


def test_more_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch, prior: Prior) -> None:
    points = prior.space.sample(200, seed=1)
    monkeypatch.setattr(fixed_points, "_ROOM", 2)
    monkeypatch.setattr(fixed_points, "_MOST_NUMBERS", 200 * (12 + 24 * 10))
    optimizer = Optimizer(prior, candidates=points)
    for _ in range(10):
        x = optimizer.ask()
        assert x == anew(optimizer, points)
        optimizer.tell(x, bowl(x))
    assert not fixed_points.fit_in_memory(200, optimizer.model.conditioned)


def test_left(prior: Prior) -> None:
    points = prior.space.sample(6, seed=2)
    points[4] = points[1]
    points[[2, 5], 1] = 0.5
    candidates = Candidates(prior.space, points)
    elsewhere = prior.space.sample(1, seed=3)
    taken = torch.cat([points[1:2], elsewhere, points[5:]])
    assert candidates.left(taken, {}).tolist() == [0, 2, 3]
    assert candidates.left(taken, {1: 0.5}).tolist() == [2]
    assert candidates.left(taken[:0], {0: 77.0}).tolist() == []


@pytest.mark.parametrize("n", [1, 3, 12])
@pytest.mark.parametrize("objective", [None, benefit])
def test_the_bound_is_one(
    make_prior: Made, observe: Observe, n: int, objective: Objective | None
) -> None:
    prior = make_prior(broad=0.1)
    model = MixturePriorGP(*observe(prior, n), prior)
    acquisition = LogIncumbentImprovement(model, objective=objective)
    X = prior.space.sample(2000, seed=4)
    compared = acquisition.conditioned.compare(prior.encode(acquisition.incumbent), prior.encode(X))
    bound = acquisition.log_bound(X[:, None], compared)
    value = acquisition(X[:, None])
    assert (bound >= value - 1e-9).all()
    if objective is None:  # with one, gains that are rare count for nothing
        assert (bound <= value + math.log(1.5)).all()


@pytest.mark.parametrize("single", [False, True])
def test_points_told_as_printed_are_not_proposed_again(prior: Prior, single: bool) -> None:
    points = prior.space.sample(8, seed=2)
    optimizer = Optimizer(prior, candidates=points.float() if single else points)
    for _ in range(8):
        x = optimizer.ask()
        optimizer.tell({name: float(f"{value:.5g}") for name, value in x.items()}, bowl(x))
    with pytest.raises(ExhaustedError):
        optimizer.ask()


def test_the_nearest_is_meant_and_no_other(prior: Prior) -> None:
    points = torch.tensor([[1.0, 0.5], [1.0, 0.50004], [1.0, 0.50004], [1.0, 0.6]]).double()
    candidates = Candidates(prior.space, points)
    assert candidates.left(torch.tensor([[1.0001, 0.50003]]).double(), {}).tolist() == [0, 3]
    assert candidates.left(torch.tensor([[1.0, 0.601]]).double(), {}).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fixed_values_up_to_rounding(prior: Prior, dtype: torch.dtype) -> None:
    values = torch.from_numpy(np.linspace(0, 1, 11))
    points = torch.cartesian_prod(torch.tensor([-1.0, 2.0]).double(), values).to(dtype)
    optimizer = Optimizer(prior, candidates=points)
    for tenth in range(11):
        assert optimizer.ask(fixed={"x2": tenth / 10})["x2"] == pytest.approx(tenth / 10, abs=1e-6)
    with pytest.raises(ExhaustedError, match="with these fixed inputs"):
        optimizer.ask(fixed={"x2": 0.35})


def test_neither_whole_numbers_nor_categories_are_near_each_other() -> None:
    space = CS.ConfigurationSpace()
    space.add(CS.Integer("seed", (1, 100_000)), CS.Categorical("kind", list("abc")))
    points = torch.tensor([[5, 0], [6, 0], [6, 1]]).double()
    candidates = Candidates(InputSpace(space, ["seed", "kind"]), points)
    assert candidates.left(torch.tensor([[7, 0], [6, 1], [5, 2]]).double(), {}).tolist() == [0, 1]
    assert candidates.left(points[:0], {0: 7.0}).tolist() == []
