"""The multi-task model: does it see what earlier tasks say?"""

from __future__ import annotations

import math

import pytest
import torch

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.improvement_search import exact_marginals
from metabo.baselines.multi_task_gp import MultiTaskSearch
from metabo.baselines.vanilla_gp import predict_vanilla

GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


def truth(x: float) -> float:
    return 2 + math.exp(-0.5 * (x - 1.8) ** 2)


def test_it_predicts_where_only_earlier_tasks_were_measured(runs: EarlierRuns) -> None:
    search = MultiTaskSearch(runs, GRID)
    assert search.ask()["x"] == pytest.approx(1.8, abs=0.01)  # of no new task anything is known
    for x in (-3.0, -1.0, 1.0):
        search.tell({"x": x}, truth(x))
    everything = torch.tensor([truth(x) for x in GRID[:, 0].tolist()], dtype=torch.float64)
    found = search.predict(torch.arange(41)).mean
    alone = predict_vanilla(search.X, search.Y, GRID, runs.space).mean
    assert (found - everything).abs().mean() < 0.6 * (alone - everything).abs().mean()
    assert found.max() == pytest.approx(3.0, abs=0.2)
    assert GRID[found.argmax(), 0].item() == pytest.approx(1.8, abs=0.45)


def test_it_models_all_tasks_and_keeps_hyperparameters_between_fits(runs: EarlierRuns) -> None:
    search = MultiTaskSearch(runs, GRID)
    for x in GRID[::4, 0].tolist()[:10]:
        search.tell({"x": x}, truth(x))
    first = search.model()
    assert first.num_tasks == 6
    assert len(first.train_targets) == 5 * 28 + 10
    search.tell({"x": 3.6}, truth(3.6))
    second = search.model()
    codes = runs.space.encode(GRID) / 12**0.5  # of width one
    with torch.no_grad():
        found = exact_marginals(second, torch.cat([codes, torch.full((41, 1), 5.0)], -1))
        posterior = second.posterior(codes)
    torch.testing.assert_close(found.mean, posterior.mean[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found.variance, posterior.variance[:, 0], rtol=1e-3, atol=1e-6)
    assert len(second.train_targets) == 5 * 28 + 11
    for before, after in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(before, after)
