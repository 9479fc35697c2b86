"""The experiments on predictions and wrong priors run, and leave their rows and origin."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
METHODS = {
    "fewshot_logistic": {
        *("vanilla GP", "ReptileMeanGP", "ReptileKernelGP", "Reptile and SGD"),
        *("metabo, K = 1", "metabo", "exact Bayes"),
    },
    "few_tasks": {"vanilla GP", "exact Bayes", "metabo, N = 4", "no shifts, N = 4"},
    "wrong_prior": {"random", "vanilla GP", "metabo"},
    "point_effects": {"metabo", "metabo, without effects"},
    "ablation": {
        *("vanilla GP", "exact Bayes", "K = 1", "random features", "Reptile's features"),
        *("refined random features", "whole", "no remainder", "no broad components"),
    },
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")
@pytest.mark.parametrize("name", METHODS)
def test_smoke(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXPERIMENTS), *sys.path])
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(EXPERIMENTS / f"{name}.py"))
    script["main"](smoke=True, seed=2, out=tmp_path)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert set(rows["method"]) == METHODS[name]
    assert not rows.isna().any(axis=None)
    assert json.loads((tmp_path / "meta.json").read_text())["settings"]["seed"] == 2
