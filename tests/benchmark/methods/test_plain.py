"""Methods without earlier runs, each on a problem with a known best point."""

from __future__ import annotations

import pytest
import torch

from metabo.baselines.vanilla_gp import VanillaGPSearch
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Searcher, VanillaGP, plain_methods
from metabo.benchmark.problems import NetBenefit, grid_problem
from metabo.tasks import LogisticFamily

FAMILY = LogisticFamily()
PROBLEM = grid_problem(
    "net benefit", FAMILY.tasks(1, 4, seed=9)[0], noise_sd=0.05, objective=NetBenefit(0.8, -4.0)
)


def test_they_have_the_names_of_the_tables() -> None:
    names = [method.name for method in plain_methods()]
    assert names == ["random", "Sobol", "TPE", "vanilla GP", "vanilla GP, qLogNEI"]


@pytest.mark.parametrize("method", plain_methods(), ids=lambda method: method.name)
def test_they_search_alike_with_one_seed(method: Searcher) -> None:
    first, second = (
        [row["regret"] for row in optimise(PROBLEM, method, 6, seed=3)] for _ in range(2)
    )
    assert first == second
    assert first[-1] < 0.6


def test_the_noisy_improvement_is_used_if_asked_for() -> None:
    response = grid_problem("response", FAMILY.tasks(1, 4, seed=9)[0], noise_sd=0.5, objective=None)
    scores = []
    for noisy in (False, True):
        search = VanillaGP(noisy).search(response, seed=1)
        assert isinstance(search, VanillaGPSearch)
        for x, y in ((-3.0, 1.0), (-1.0, 3.0), (1.0, 1.5), (3.0, 2.8)):
            search.tell({"x": x}, y)
        scores.append(search.scores(torch.arange(200)))
    plain, noisy = scores
    assert not torch.allclose(plain, noisy, atol=0.1)
    # The noise makes the incumbent uncertain, but what is likely to be better stays so.
    assert float(torch.stack([plain.exp(), noisy.exp()]).corrcoef()[0, 1]) > 0.7
