"""The search for an acquisition function's largest value."""

from __future__ import annotations

from collections.abc import Callable

import ConfigSpace as CS
import pytest
import torch
from ConfigSpace.hyperparameters import Hyperparameter
from torch import Tensor

from metabo.acquisition_search import ExhaustedError, _is_near, search_space
from metabo.prior import Prior
from metabo.space import InputSpace
from metabo.surrogates import LogIncumbentImprovement, MixturePriorGP

Observe = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def acquisition(prior: Prior, observe: Observe) -> LogIncumbentImprovement:
    return LogIncumbentImprovement(MixturePriorGP(*observe(prior, 4), prior))


def test_polishes_the_best_of_the_pool(prior: Prior, acquisition: LogIncumbentImprovement) -> None:
    X = acquisition.model.train_inputs[0]
    found = search_space(acquisition, prior.space, X, seed=0)
    grid = prior.space.sample(4096, seed=3)
    assert acquisition(found[None, None]) >= acquisition(grid.unsqueeze(-2)).max() - 1e-3


@pytest.mark.parametrize("column", [0, 1])
def test_fixed_inputs_keep_their_value_and_the_others_are_the_best(
    prior: Prior, acquisition: LogIncumbentImprovement, column: int
) -> None:
    X = acquisition.model.train_inputs[0]
    found = search_space(acquisition, prior.space, X, seed=0, fixed={column: 0.3})
    assert found[column] == 0.3
    grid = prior.space.sample(4096, seed=3)
    grid[:, column] = 0.3
    assert acquisition(found[None, None]) >= acquisition(grid.unsqueeze(-2)).max() - 1e-3


def test_all_inputs_fixed(prior: Prior, acquisition: LogIncumbentImprovement) -> None:
    X = acquisition.model.train_inputs[0]
    found = search_space(acquisition, prior.space, X, seed=0, fixed={0: 1.5, 1: 0.25})
    assert found.tolist() == [1.5, 0.25]


def test_taken_points_are_not_found_again(make_prior: Callable[..., Prior]) -> None:
    space = CS.ConfigurationSpace()
    space.add(CS.Integer("depth", (1, 3)), CS.CategoricalHyperparameter("kernel", ["a", "b"]))
    prior = make_prior(InputSpace(space))
    acquisition = LogIncumbentImprovement(
        MixturePriorGP(torch.empty(0, 2).double(), torch.empty(0, 1).double(), prior)
    )
    taken = torch.empty(0, 2, dtype=torch.float64)
    for _ in range(6):
        found = search_space(acquisition, prior.space, taken[:0], seed=0, X_taken=taken)
        assert not (taken == found).all(-1).any()
        taken = torch.cat([taken, found[None]])
    with pytest.raises(ExhaustedError, match="every point"):
        search_space(acquisition, prior.space, taken[:0], seed=0, X_taken=taken)


def test_there_is_room_for_many(prior: Prior, acquisition: LogIncumbentImprovement) -> None:
    taken = prior.space.sample(300, seed=1)
    found = search_space(acquisition, prior.space, taken[:0], seed=0, X_taken=taken)
    unit = prior.space.to_unit(torch.cat([found[None], taken]))
    assert (unit[0] - unit[1:]).abs().amax(-1).min() >= 0.25 / 300


@pytest.mark.parametrize(
    "wanted", [CS.Categorical("x", [f"v{i}" for i in range(60)]), CS.Integer("x", (1, 100))]
)
def test_whole_numbers_and_categories_are_near_only_if_equal(wanted: Hyperparameter) -> None:
    space = CS.ConfigurationSpace()
    space.add(wanted, CS.Float("y", (0, 1)))
    points = torch.tensor([[50, 0.5], [50, 0.51], [50, 0.53], [49, 0.5], [51, 0.5]]).double()
    near = _is_near(InputSpace(space, ["x", "y"]), points, points[:1])
    assert near.tolist() == [True, True, False, False, False]
