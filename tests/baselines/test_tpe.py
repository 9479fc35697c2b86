"""TPE against Optuna's own loop, and on inputs of every kind."""

from __future__ import annotations

import optuna
import torch
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from metabo.baselines.tpe import TPESearch, distributions
from metabo.space import InputSpace

CONFIGURATIONS = ConfigurationSpace()
CONFIGURATIONS.add(
    [Float("rate", (1e-4, 1.0), log=True), Integer("depth", (1, 9)), Categorical("k", "abc")]
)
MIXED = InputSpace(CONFIGURATIONS, ["rate", "depth", "k"])


def test_distributions_are_what_a_user_would_write() -> None:
    assert distributions(MIXED) == {
        "rate": FloatDistribution(1e-4, 1.0, log=True),
        "depth": IntDistribution(1, 9),
        "k": CategoricalDistribution((0, 1, 2)),
    }


def test_where_all_points_are_candidates_it_is_optunas_own_loop() -> None:
    space = InputSpace.from_bounds((-2, 3))
    # So fine a grid that moving to the nearest changes next to nothing.
    grid = torch.linspace(-2, 3, 200_001, dtype=torch.float64).unsqueeze(-1)
    search = TPESearch(space, grid, seed=4)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=4), direction="maximize")
    for _ in range(20):
        x = search.ask()
        assert search.ask() == x  # asking again draws nothing
        search.tell(x, -((x["x"] - 1) ** 2))
    study.optimize(lambda trial: -((trial.suggest_float("x", -2, 3) - 1) ** 2), n_trials=20)
    expected = torch.tensor([trial.params["x"] for trial in study.trials], dtype=torch.float64)
    torch.testing.assert_close(search.X[:, 0], expected, rtol=0, atol=1e-3)


def test_it_finds_a_good_corner_of_a_mixed_space() -> None:
    candidates = MIXED.sample(500, seed=0)
    search = TPESearch(MIXED, candidates, seed=0)
    for _ in range(40):
        x = search.ask()
        search.tell(x, x["depth"] + 3 * (x["k"] == "b"))
    later = search.Y[20:].mean()
    assert later > search.Y[:10].mean() + 2
    assert len(search.X.unique(dim=0)) == 40


def test_an_objective_is_as_good_as_being_told_its_values() -> None:
    space = InputSpace.from_bounds((-4, 4))
    grid = torch.linspace(-4, 4, 101, dtype=torch.float64).unsqueeze(-1)
    search = TPESearch(space, grid, objective=lambda Y, X: -(Y[..., 0] - 2 * X[..., 0]).abs())
    told = TPESearch(space, grid)
    for _ in range(20):
        x = search.ask()
        assert told.ask() == x
        search.tell(x, x["x"] + 1.0)
        told.tell(x, -abs(1.0 - x["x"]))
    assert (search.X - 1.0).abs().min() < 0.15


def test_optunas_log_is_left_as_it_was() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    TPESearch(MIXED, MIXED.sample(3, seed=0))
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR
