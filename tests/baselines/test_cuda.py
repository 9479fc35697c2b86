"""The baselines with what is on a GPU: models there, searches as from what is on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from metabo.baselines.average_rank import AverageRankSearch
from metabo.baselines.deep_kernel_gp import DeepKernelSearch, FewShotDeepKernel
from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.exact_bayes import ExactBayes, ExactBayesSearch
from metabo.baselines.multi_task_gp import MultiTaskSearch
from metabo.baselines.one_gaussian import GaussianPrior
from metabo.baselines.random_search import RandomSearch
from metabo.baselines.rgpe import RGPESearch
from metabo.baselines.sobol_search import SobolSearch
from metabo.baselines.task_gps import TaskGPs
from metabo.baselines.tst_r import TSTRSearch
from metabo.baselines.vanilla_gp import VanillaGPSearch, vanilla_gp
from metabo.space import InputSpace
from metabo.tasks import LogisticFamily, TableFamily, Task

LINE = InputSpace.from_bounds((-4, 4))
GRID = torch.linspace(-4, 4, 21, dtype=torch.float64).unsqueeze(-1)


@pytest.fixture(scope="module")
def runs_there(cuda: torch.device) -> EarlierRuns:
    X = GRID.to(cuda)
    tasks = [Task(str(c), LINE, X, (-0.5 * (X - c).square()).exp()) for c in (1.0, 1.5, 2.0)]
    return EarlierRuns(TableFamily(tasks, LINE))


SEARCHES: dict[str, Any] = {
    "random": lambda runs, X: RandomSearch(LINE, X),
    "Sobol": lambda runs, X: SobolSearch(LINE, X),
    "vanilla": lambda runs, X: VanillaGPSearch(LINE, X),
    "exact": lambda runs, X: ExactBayesSearch(ExactBayes(LogisticFamily(), num_draws=500), X),
    "ranks": AverageRankSearch,
    "RGPE": lambda runs, X: RGPESearch(TaskGPs(runs), X),
    "TST-R": lambda runs, X: TSTRSearch(TaskGPs(runs), X),
    "multi-task": MultiTaskSearch,
    "one Gaussian": lambda runs, X: GaussianPrior(runs).search(X),
    "deep kernel": lambda runs, X: DeepKernelSearch(FewShotDeepKernel(runs, steps=3), X, steps=2),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_searches(name: str, runs_there: EarlierRuns, cuda: torch.device) -> None:
    search = SEARCHES[name](runs_there, GRID.to(cuda))
    for step in range(5):
        search.tell(search.ask(), 0.1 * step)
    assert len(search.Y) == 5


def test_the_vanilla_gp(cuda: torch.device) -> None:
    X = LINE.sample(6, seed=1)
    here, there = vanilla_gp(X, X.sin(), LINE), vanilla_gp(X.to(cuda), X.sin().to(cuda), LINE)
    with torch.no_grad():
        expected, found = here.posterior(GRID), there.posterior(GRID.to(cuda))
    torch.testing.assert_close(found.mean.cpu(), expected.mean, rtol=1e-2, atol=1e-2)
