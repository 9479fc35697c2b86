"""The experiment runs, and every alternative leaves what ours leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import metabo
from metabo.meta_training.inner_loop import adapt
from metabo.network import MLP

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.mark.slow
def test_smoke(tmp_path: Path) -> None:
    command = [sys.executable, EXPERIMENTS / "reptile_speed.py", "--smoke", "--out", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(Path(metabo.__file__).parents[1])}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "written_out" in found.stdout
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert (rows["steps_per_second"] > 0).all()
    assert (rows.groupby("implementation").size() == 2).all()
    assert json.loads((tmp_path / "meta.json").read_text())["settings"]["repeats"] == 2
    assert (tmp_path / "speed.svg").stat().st_size > 1000


@pytest.mark.slow
def test_the_fused_loop_gives_what_ours_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    from fused_inner_loop import COMPILER, cpp

    if COMPILER is None:
        pytest.skip("needs g++")
    generator = torch.Generator().manual_seed(0)
    network = MLP(2, (32, 32, 32), generator=generator)
    X = torch.randn(50, 3, 10, 2, generator=generator)
    Y = torch.sin(2 * X.sum(-1))
    expected = adapt(network, X, Y, 0.02).layers
    for ours, theirs in zip(expected, cpp(network, X, Y, 0.02)(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
