"""Metabo as a method, against the surrogate's own posterior."""

from __future__ import annotations

import pytest
import torch

from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Metabo, PlainSurrogate, own_methods
from metabo.benchmark.methods.own import PlainSurrogateSearch
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


def test_they_have_the_names_of_the_tables(prior: Prior) -> None:
    names = [method.name for method in own_methods(prior)]
    assert names == ["ReptileMeanGP", "ReptileKernelGP", "metabo"]


@pytest.mark.parametrize("surrogate", [ReptileMeanGP, ReptileKernelGP])
def test_plain_surrogates_search_from_the_first_point_on(prior: Prior, surrogate: type) -> None:
    problem = grid_problem("p", TASK, noise_sd=0.05, objective=NetBenefit(0.8, -4.0))
    method = PlainSurrogate(surrogate, prior)
    regrets = [row["regret"] for row in optimise(problem, method, 8, seed=0)]
    assert regrets[-1] < 0.15


@pytest.mark.parametrize("surrogate", [ReptileMeanGP, ReptileKernelGP])
def test_plain_surrogates_start_from_their_prior_and_go_on_with_the_posterior(
    prior: Prior, surrogate: type
) -> None:
    points = grid(FAMILY.space, 20)
    search = PlainSurrogateSearch(surrogate, prior, points)
    start = search.predict(torch.arange(20))
    # An observation at one end with enormous noise says nothing: the posterior is the prior.
    silent = surrogate(points[:1], points[:1], prior, torch.full((1, 1), 1e12).double())
    posterior = silent.posterior(points)
    torch.testing.assert_close(start.mean, posterior.mean[:, 0], rtol=0, atol=1e-4)
    torch.testing.assert_close(start.variance, posterior.variance[:, 0], rtol=1e-4, atol=1e-4)
    for x, y in zip(TASK.X, TASK.Y, strict=True):
        search.tell({"x": float(x)}, float(y))
    posterior = surrogate(TASK.X, TASK.Y, prior).posterior(points)
    found = search.predict(torch.arange(20))
    torch.testing.assert_close(found.mean, posterior.mean[:, 0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.variance, posterior.variance[:, 0], rtol=1e-5, atol=1e-6)
