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
from metabo.meta_training.fused_loop import is_compiled
from metabo.meta_training.inner_loop import adapt
from metabo.network import MLP

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.mark.slow
def test_smoke(tmp_path: Path) -> None:
    command = [sys.executable, EXPERIMENTS / "reptile_speed.py", "--smoke", "--out", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(Path(metabo.__file__).parents[1])}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    ours = "compiled" if is_compiled() else "written_out"
    assert ours in found.stdout
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert (rows["steps_per_second"] > 0).all()
    assert (rows.groupby("implementation").size() == 2).all()
    assert json.loads((tmp_path / "meta.json").read_text())["settings"]["repeats"] == 2
    ratios = pd.read_csv(tmp_path / "ratios.csv").set_index("what")["measured"]
    assert {ours, "written_out", "one_at_a_time"} <= set(rows["implementation"])
    by_name = rows.pivot(index="repeat", columns="implementation", values="steps_per_second")
    expected = (by_name[ours] / by_name["one_at_a_time"]).median()
    assert ratios["T = 10, over one task at a time"] == pytest.approx(expected, rel=1e-4)
    assert (tmp_path / "speed.svg").stat().st_size > 1000


@pytest.mark.slow
def test_the_fused_loop_gives_what_ours_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    from parts.fused_inner_loop import COMPILER, cpp

    if COMPILER is None:
        pytest.skip("needs g++")
    generator = torch.Generator().manual_seed(0)
    network = MLP(2, (32, 32, 32), generator=generator)
    X = torch.randn(50, 3, 10, 2, generator=generator)
    Y = torch.sin(2 * X.sum(-1))
    expected = adapt(network, X, Y, 0.02).layers
    for ours, theirs in zip(expected, cpp(network, X, Y, 0.02)(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_ratio_is_against_the_faster_form_and_within_a_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    from parts.inner_loop_ratios import ratios

    speeds = {
        "compiled": [3.0, 8.0, 5.0],
        "written_out": [1.0, 1.0, 1.0],
        "jax_autograd": [1, 1, 1],
        "jax_written_out": [2, 2, 2],
    }
    rows = pd.DataFrame(
        [
            (name, 512, 32, 1, "cpu", repeat, speed, 10.0)
            for name, values in speeds.items()
            for repeat, speed in enumerate(values)
        ],
        columns=[
            *("implementation", "num_tasks", "width", "threads", "device"),
            *("repeat", "steps_per_second", "peak_mib"),
        ],
    )
    many = rows.assign(num_tasks=4096, peak_mib=90.0)
    found = ratios(pd.concat([rows, many])).set_index("what")
    assert found["measured"]["T = 512, over the best JAX form"] == 2.5
    assert found["lowest"]["T = 512, over the best JAX form"] == 1.5
    assert found["highest"]["T = 512, over the best JAX form"] == 4
    assert found["met"]["T = 512, over the best JAX form"]
    assert found["measured"]["memory, width 32, T = 4096 over T = 512"] == 9
    assert not found["met"]["memory, width 32, T = 4096 over T = 512"]
    assert found["met"]["MiB, width 32, T = 4096"]
    assert len(found) == 4  # nothing is claimed of what was not measured
