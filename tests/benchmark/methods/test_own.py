"""Metabo as a method, against the surrogate's own posterior."""

from __future__ import annotations

import pytest
import torch

from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Metabo, PlainSurrogate
from metabo.benchmark.problems import NetBenefit, Target, grid, grid_problem
from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP, ReptileKernelGP, ReptileMeanGP
from metabo.tasks import LogisticFamily

FAMILY = LogisticFamily()
TASK = FAMILY.tasks(1, 4, seed=9)[0]


def test_prediction_is_the_surrogates_posterior(prior: Prior) -> None:
    query = grid(FAMILY.space, 20)
    posterior = MixturePriorGP(TASK.X, TASK.Y, prior).posterior(query, observation_noise=True)
    found = Metabo(prior).predict(FAMILY.space, TASK.X, TASK.Y, query)
    torch.testing.assert_close(found.mean, posterior.mean[:, 0])
    torch.testing.assert_close(found.variance, posterior.variance[:, 0])
    y = torch.full((20,), 1.5, dtype=torch.float64)
    torch.testing.assert_close(found.log_prob(y), posterior.log_density(y.unsqueeze(-1))[:, 0])
    torch.testing.assert_close(found.cdf(y), posterior.cdf(y.unsqueeze(-1))[:, 0])


@pytest.mark.parametrize("surrogate", [ReptileMeanGP, ReptileKernelGP])
def test_plain_surrogates(prior: Prior, surrogate: type) -> None:
    query = grid(FAMILY.space, 20)
    posterior = surrogate(TASK.X, TASK.Y, prior).posterior(query, observation_noise=True)
    method = PlainSurrogate(surrogate, prior)
    found = method.predict(FAMILY.space, TASK.X, TASK.Y, query)
    assert method.name == surrogate.__name__
    torch.testing.assert_close(found.mean, posterior.mean[:, 0])
    torch.testing.assert_close(found.variance, posterior.variance[:, 0])


def test_search_optimises_the_objective_from_the_first_point_on(prior: Prior) -> None:
    for objective in (NetBenefit(0.8, -4.0), Target(0.7)):
        problem = grid_problem("p", TASK, noise_sd=0.05, objective=objective)
        first = Metabo(prior).search(problem, seed=0).ask()
        assert problem.locate(first) == problem.locate(Metabo(prior).search(problem, seed=0).ask())
        regrets = [row["regret"] for row in optimise(problem, Metabo(prior), 8, seed=0)]
        assert regrets[-1] < 0.1
