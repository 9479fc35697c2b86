"""The studies of the related work's claims run, and leave their rows and origin."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest
import torch

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
LEFT = {
    "task_similarity": {"rows.csv", "meta.json", "error.png"},
    "inner_steps": {"rows.csv", "costs.csv", "meta.json", "inner_steps.png"},
    "bayes_by_backprop": {"rows.csv", "chosen.csv", "meta.json"},
}


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))


@pytest.mark.slow
@pytest.mark.parametrize("name", LEFT)
def test_smoke(name: str, tmp_path: Path) -> None:
    script = runpy.run_path(str(EXPERIMENTS / f"{name}.py"))
    script["main"](smoke=True, seed=2, out=tmp_path, jobs=1)
    assert {path.name for path in tmp_path.iterdir()} == LEFT[name]
    assert not pd.read_csv(tmp_path / "rows.csv").isna().any(axis=None)
    assert json.loads((tmp_path / "meta.json").read_text())["settings"]["seed"] == 2


def test_wider_families_have_the_same_middle() -> None:
    from task_similarity import family

    narrow, usual = family(0.1).parameters, family(1.0).parameters
    assert usual == {"L": (1, 10), "k": (1, 10), "x0": (-1, 1)}
    assert narrow["L"] == pytest.approx((5.05, 5.95))
    assert narrow["x0"] == pytest.approx((-0.1, 0.1))


def test_deviation_of_weights_is_that_of_networks_adapted_one_by_one() -> None:
    from parts.related_loop import as_module
    from parts.starting_points import Start, curves
    from task_similarity import SMOKE, deviation_of_weights, family

    from metabo.network import MLP

    test = curves(family(1.0), 3, 20, seed=0)
    network = MLP(1, (4, 4, 4), generator=torch.Generator().manual_seed(0))
    ends = []
    for x, y in zip(test.batch.X.float(), test.batch.Y.float(), strict=True):
        own = as_module(network)
        optimizer = torch.optim.SGD(own.parameters(), lr=0.02)
        for _ in range(SMOKE.evaluation_iterations):
            optimizer.zero_grad()
            (own(x).squeeze(-1) - y).square().mean().backward()
            optimizer.step()
        ends.append(torch.cat([p.detach().flatten() for p in own.parameters()]))
    stack = torch.stack(ends)
    expected = (stack - stack.mean(0)).square().sum(1).mean().sqrt()
    found = deviation_of_weights(Start("Reptile", network, None, 0.0), test, SMOKE)
    assert found == pytest.approx(float(expected), rel=1e-4)
