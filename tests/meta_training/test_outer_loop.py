"""Long runs: resumed to the same bits, with a training curve."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import metabo
from metabo.meta_training.checkpoint import CheckpointError
from metabo.meta_training.outer_loop import choose_device
from metabo.meta_training.records import CURVE_COLUMNS, Records
from metabo.meta_training.reptile import ReptileSettings, reptile
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

SETTINGS = ReptileSettings(outer_steps=30, tasks_per_step=4, inner_steps=3, points_per_step=5)


def run(
    records: Records | None = None,
    settings: ReptileSettings = SETTINGS,
    seed: int = 0,
    activation: str = "tanh",
) -> MLP:
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(10, 8, 1, generator=generator)
    batch = TaskBatch(X, torch.sin(4 * X.squeeze(-1)), torch.full((10,), 8))
    start = MLP(1, (8, 8), activation, generator=generator)
    return reptile(batch, start, settings, seed=seed, device="cpu", progress=False, records=records)


def curve_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in CURVE_COLUMNS[:-1]) for row in rows]


def assert_same_bits(one: MLP, other: MLP) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one.layers, other.layers, strict=True))


def run_until_killed(folder: str) -> None:
    """What the killed process does: the same run, slowly."""
    advance = torch._foreach_add_

    def slowly(*args: object, **kwargs: object) -> None:
        time.sleep(0.05)
        advance(*args, **kwargs)

    torch._foreach_add_ = slowly
    run(Records(Path(folder) / "run.safetensors", every=4, curve=Path(folder) / "curve.csv"))


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    path = tmp_path / "run.safetensors"
    environment = os.environ | {"PYTHONPATH": str(Path(metabo.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, __file__, str(tmp_path)], env=environment)
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.kill()
    assert process.wait() < 0  # it did not end by itself

    records = Records(path, every=4, curve=tmp_path / "curve.csv", resume=True)
    assert_same_bits(run(records), run(Records(curve=tmp_path / "whole.csv")))
    resumed, whole = (without_seconds(curve_of(tmp_path / f"{n}.csv")) for n in ("curve", "whole"))
    assert resumed == whole


def test_a_finished_run_resumes_to_itself(tmp_path):
    records = Records(tmp_path / "run.safetensors", resume=True)  # nothing there yet: starts anew
    assert_same_bits(run(records), run(records))


def test_records_do_not_change_the_result(tmp_path):
    records = Records(tmp_path / "run.safetensors", every=7, curve=tmp_path / "curve.csv")
    assert_same_bits(run(records), run())


def test_only_the_same_run_is_resumed(tmp_path):
    path = tmp_path / "run.safetensors"
    run(Records(path))
    with pytest.raises(CheckpointError, match="its seed is 0, not 1"):
        run(Records(path, resume=True), seed=1)
    with pytest.raises(CheckpointError, match="its settings is"):
        run(Records(path, resume=True), ReptileSettings(outer_steps=31))
    run(Records(tmp_path / "relu"), activation="relu")
    with pytest.raises(CheckpointError, match=r"its network is .*relu.*, not .*silu"):
        run(Records(tmp_path / "relu", resume=True), activation="silu")


def test_the_curve_has_a_row_for_every_step(tmp_path):
    run(Records(curve=tmp_path / "curve.csv"))
    rows = curve_of(tmp_path / "curve.csv")
    assert tuple(rows[0]) == CURVE_COLUMNS
    assert [int(row["outer_step"]) for row in rows] == list(range(1, 31))
    assert float(rows[-1]["loss_before"]) < float(rows[0]["loss_before"])
    assert all(float(row["seconds"]) >= 0 for row in rows)
    assert {row["held_out_loss"] for row in rows} == {""}


def test_resuming_needs_a_file():
    with pytest.raises(ValueError, match="resume=True needs checkpoint"):
        Records(resume=True)
    with pytest.raises(ValueError, match="every must be at least 1"):
        Records(every=0)


def test_several_runs_have_records_of_their_own(tmp_path):
    records = Records(tmp_path / "a" / "run.safetensors", every=3, curve=tmp_path / "curve.csv")
    named = records.named("fold2")
    assert named.checkpoint == tmp_path / "a" / "run-fold2.safetensors"
    assert named.curve == tmp_path / "curve-fold2.csv"
    assert named.tensorboard is None
    assert named.every == 3


if __name__ == "__main__":
    run_until_killed(sys.argv[1])


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda:99", "there is no device cuda:99"), ("gpu", "'gpu' is no device: give 'auto', 'cpu'")],
)
def test_a_device_that_is_not_there(device, message):
    with pytest.raises(ValueError, match=message):
        choose_device(device)


def test_auto_is_a_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu") == torch.device("cpu")
