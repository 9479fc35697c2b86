"""Syne Tune's transfer schedulers learn from earlier runs, on inputs of every kind."""

from __future__ import annotations

import pytest
import torch
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

pytest.importorskip("syne_tune", reason='needs "metabo[packages]"')

from metabo.baselines.syne_tune import BoundingBoxSearch, CopulaSearch, SyneTuneSearch

pytestmark = pytest.mark.slow

CONFIGURATIONS = ConfigurationSpace()
CONFIGURATIONS.add(
    [Float("rate", (1e-4, 1.0), log=True), Integer("depth", (1, 9)), Categorical("k", "abc")]
)
MIXED = InputSpace(CONFIGURATIONS, ["rate", "depth", "k"])


def value(X: torch.Tensor) -> torch.Tensor:
    """Best for deep ones of kind b with a rate of 0.01."""
    rate, depth, kind = X.unbind(-1)
    return (depth + 3 * (kind == 1) - (rate.log10() + 2).square()).unsqueeze(-1)


def runs() -> EarlierRuns:
    points = [MIXED.sample(60, seed=seed) for seed in range(3)]
    tasks = [Task(f"t{i}", MIXED, X, i + value(X)) for i, X in enumerate(points)]
    return EarlierRuns(TableFamily(tasks, MIXED))


@pytest.mark.parametrize("search", [CopulaSearch, BoundingBoxSearch])
def test_it_starts_where_earlier_tasks_were_good(search: type[SyneTuneSearch]) -> None:
    candidates = MIXED.sample(300, seed=9)
    found = search(runs(), candidates, seed=0)
    for _ in range(10):
        x = found.ask()
        assert found.ask() == x  # asking again draws nothing
        found.tell(x, float(value(MIXED.to_tensor([x]))))
    assert float(found.Y.mean()) > float(value(candidates).quantile(0.9))
    assert len(found.X.unique(dim=0)) == 10


@pytest.mark.parametrize("search", [CopulaSearch, BoundingBoxSearch])
def test_it_maximises_an_objective(search: type[SyneTuneSearch]) -> None:
    candidates = MIXED.sample(300, seed=9)
    found = search(runs(), candidates, objective=lambda Y, X: -Y[..., 0], seed=0)
    for _ in range(10):
        x = found.ask()
        found.tell(x, float(value(MIXED.to_tensor([x]))))
    assert float(found.Y.mean()) < float(value(candidates).quantile(0.2))
