"""Sobol search against SciPy's measure of how evenly points cover a cube."""

from __future__ import annotations

import torch
from ConfigSpace import ConfigurationSpace, Float
from scipy.stats import qmc

from metabo.baselines.candidate_search import CandidateSearch
from metabo.baselines.random_search import RandomSearch
from metabo.baselines.sobol_search import SobolSearch
from metabo.space import InputSpace

CONFIGURATIONS = ConfigurationSpace()
CONFIGURATIONS.add([Float("rate", (1e-4, 1.0), log=True), Float("width", (0.0, 10.0))])
SPACE = InputSpace(CONFIGURATIONS, ["rate", "width"])
CANDIDATES = SPACE.from_unit(
    torch.rand(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
)


def visited(search: CandidateSearch, num_points: int) -> torch.Tensor:
    for _ in range(num_points):
        search.tell(search.ask(), 0.0)
    return search.X


def test_it_covers_the_space_more_evenly_than_random_points() -> None:
    for seed in range(3):
        sobol = SPACE.to_unit(visited(SobolSearch(SPACE, CANDIDATES, seed=seed), 32))
        random = SPACE.to_unit(visited(RandomSearch(SPACE, CANDIDATES, seed=seed), 32))
        assert qmc.discrepancy(sobol.numpy()) < 0.5 * qmc.discrepancy(random.numpy())


def test_it_goes_to_the_nearest_candidate_on_the_inputs_scales() -> None:
    found = visited(SobolSearch(SPACE, CANDIDATES, seed=5), 1)
    wanted = SPACE.to_unit(SPACE.sample(1, seed=5))
    distances = (SPACE.to_unit(CANDIDATES) - wanted).norm(dim=-1)
    torch.testing.assert_close(found[0], CANDIDATES[distances.argmin()])


def test_every_candidate_is_proposed_once() -> None:
    few = CANDIDATES[:9]
    X = visited(SobolSearch(SPACE, few), 9)
    torch.testing.assert_close(X.unique(dim=0), few.unique(dim=0))
