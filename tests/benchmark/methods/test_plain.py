"""Methods without earlier runs, each on a problem with a known best point."""

from __future__ import annotations

import pytest

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


def test_vanilla_gps_start_alike_and_differ_without_an_objective() -> None:
    response = grid_problem("response", FAMILY.tasks(1, 4, seed=9)[0], noise_sd=0.5, objective=None)
    searches = [VanillaGP(noisy).search(response, seed=1) for noisy in (False, True)]
    asked = []
    for _ in range(6):
        points = [search.ask() for search in searches]
        asked.append(points)
        for search, x in zip(searches, points, strict=True):
            search.tell(x, 3 + (-1) ** len(asked) * x["x"])
    assert all(one == other for one, other in asked[:2])
    assert any(one != other for one, other in asked[2:])
