"""Scalars in TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from metabo.meta_training.records import Records
from metabo.meta_training.reptile import ReptileSettings, reptile
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

SETTINGS = ReptileSettings(outer_steps=4, tasks_per_step=2, inner_steps=2, points_per_step=3)


def run(records: Records) -> None:
    X = torch.rand(3, 8, 1, generator=torch.Generator().manual_seed(0))
    tasks = TaskBatch(X, torch.sin(4 * X.squeeze(-1)), torch.full((3,), 8))
    start = MLP(1, (8,), generator=torch.Generator().manual_seed(0))
    reptile(tasks, start, SETTINGS, seed=0, device="cpu", progress=False, records=records)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard itself imports
def test_the_board_has_what_the_curve_has(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(Records(curve=tmp_path / "curve.csv", tensorboard=tmp_path / "board"))
    events = accumulator.EventAccumulator(str(tmp_path / "board")).Reload()
    assert events.Tags()["scalars"] == ["loss_before", "loss_after"]
    logged = [(event.step, event.value) for event in events.Scalars("loss_after")]
    lines = (tmp_path / "curve.csv").read_text().splitlines()[1:]
    curve = [(int(line.split(",")[0]), float(line.split(",")[2])) for line in lines]
    assert len(logged) == 4
    assert [step for step, _ in logged] == [step for step, _ in curve]
    assert [v for _, v in logged] == pytest.approx([v for _, v in curve], rel=1e-6)


def test_without_tensorboard_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'metabo\[tensorboard\]'"):
        run(Records(tensorboard=tmp_path / "board"))
