"""BayBE learns from earlier runs, on inputs of every kind."""

from __future__ import annotations

import pytest
import torch
from ConfigSpace import Categorical, ConfigurationSpace, Constant, Float, Integer

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

pytest.importorskip("baybe", reason='needs "metabo[packages]"')

from metabo.baselines.baybe import BayBESearch

pytestmark = pytest.mark.slow

CONFIGURATIONS = ConfigurationSpace()
CONFIGURATIONS.add(
    [
        Float("rate", (1e-4, 1.0), log=True),
        Integer("depth", (1, 9)),
        Categorical("k", "abc"),
        Constant("version", 1),
    ]
)
MIXED = InputSpace(CONFIGURATIONS, ["rate", "depth", "k", "version"])


def value(X: torch.Tensor) -> torch.Tensor:
    """Best for deep ones of kind b with a rate of 0.01."""
    rate, depth, kind, _ = X.unbind(-1)
    return (depth + 3 * (kind == 1) - (rate.log10() + 2).square()).unsqueeze(-1)


def runs() -> EarlierRuns:
    points = [MIXED.sample(20, seed=seed) for seed in range(3)]
    tasks = [Task(f"t{i}", MIXED, X, i + value(X)) for i, X in enumerate(points)]
    return EarlierRuns(TableFamily(tasks, MIXED))


@pytest.mark.parametrize("sign", [1, -1])
def test_it_starts_where_earlier_tasks_were_good(sign: int) -> None:
    candidates = MIXED.sample(40, seed=9)
    objective = None if sign > 0 else lambda Y, X: -Y[..., 0]
    found = BayBESearch(runs(), candidates, objective=objective, seed=0)
    for _ in range(2):
        x = found.ask()
        assert found.ask() == x
        found.tell(x, float(value(MIXED.to_tensor([x]))))
    assert float(sign * found.Y.mean()) > float((sign * value(candidates)).quantile(0.75))
    assert len(found.X.unique(dim=0)) == 2
