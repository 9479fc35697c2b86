"""`metabo train` and `metabo info`: from a table to a file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from metabo.prior import Prior

Run = Callable[..., Result]


def train(metabo: Run, table: Path, out: Path, *options: object) -> Result:
    columns = ("--task", "batch", "--output", "damage", "--minimize")
    return metabo("train", table, *columns, "-o", out, "--smoke", *options)


@pytest.fixture(scope="module")
def trained(runs: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a real process, as a stranger would start it."""
    folder = tmp_path_factory.mktemp("train")
    runs.to_csv(folder / "runs.csv", index=False)
    (folder / "space.json").write_text('{"dose": {"low": 0, "high": 12}}')
    command = "train runs.csv --task batch --output damage --minimize --space space.json "
    command += "--smoke -o prior.safetensors"
    subprocess.run(
        [sys.executable, "-c", "from metabo.cli import app; app()", *command.split()],
        cwd=folder,
        check=True,
    )
    return folder / "prior.safetensors"


def test_the_prior_knows_the_runs(trained: Path) -> None:
    prior = Prior.load(trained)
    assert prior.minimize
    assert prior.space.bounds.T.tolist() == [[0, 12]]
    assert prior.provenance["data"] == {"num_tasks": 3, "num_observations": 18}
    table = {"file": "runs.csv", "task": "batch", "output": "damage", "left_out_points": 6.0}
    assert prior.provenance["table"] == table
    assert {file.name for file in trained.parent.iterdir()} == {
        *("prior.safetensors", "runs.csv", "space.json")
    }


def test_suggest_needs_no_more_than_the_file(metabo: Run, trained: Path) -> None:
    table = b"dose,damage,batch\n5,0.1,b4\n1,16,b4\n"
    found = json.loads(metabo("suggest", trained, "-", "--json", stdin=table).stdout)
    assert found["best"]["y"] == 0.1
    assert 0 <= found["suggestions"][0]["x"]["dose"] <= 12
    expected = found["suggestions"][0]["expected"]
    assert expected["low"] < expected["mean"] < expected["high"]


def test_info(metabo: Run, trained: Path, runs: pd.DataFrame) -> None:
    result = metabo("info", trained)
    assert result.exit_code == 0
    for words in (
        "dose",
        "0 to 12",
        "to minimise",
        "18 runs of 3 tasks (runs.csv)",
        "On tasks left",
    ):
        assert words in result.stdout
    found = json.loads(metabo("info", trained, "--json").stdout)
    assert found["output_mean"] == pytest.approx(runs["damage"].mean())
    assert found["table"]["output"] == "damage"
    assert found["digest"] == Prior.load(trained).digest
    assert 0 < found["left_out"]["error"] < 3 * runs["damage"].std()


def test_info_of_a_prior_made_by_hand(metabo: Run, prior_file: Path) -> None:
    assert "x1" in metabo("info", prior_file).stdout
    assert json.loads(metabo("info", prior_file, "--json").stdout)["table"] is None


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "column 'damage' 1 of 18 cells are missing"),
        ("1e308", "too large"),
        ("lots", "such as 'lots' in line 2"),
    ],
)
def test_nothing_is_learned_from_a_wrong_table(
    metabo: Run, runs: pd.DataFrame, tmp_path: Path, cell: str, message: str
) -> None:
    table = tmp_path / "runs.csv"
    runs.assign(damage=[cell, *runs["damage"][1:].astype(str)]).to_csv(table, index=False)
    result = train(metabo, table, tmp_path / "prior")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "prior").exists()


def test_a_device_that_is_not_there(metabo: Run, runs_file: Path, tmp_path: Path) -> None:
    result = train(metabo, runs_file, tmp_path / "prior", "--device", "cuda:99")
    assert result.exit_code == 2
    assert "there is no device cuda:99" in result.stderr
    assert not list(tmp_path.glob("prior*"))


def test_a_folder_that_cannot_be_written(metabo: Run, runs_file: Path) -> None:
    result = train(metabo, runs_file, runs_file / "prior")
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_prior(
    metabo: Run, runs_file: Path, tmp_path: Path
) -> None:
    through, killed = tmp_path / "through", tmp_path / "killed"
    assert train(metabo, runs_file, through).exit_code == 0
    command = f"train {runs_file} --task batch --output damage --minimize --smoke -o {killed}"
    process = subprocess.Popen(
        [sys.executable, "-c", "from metabo.cli import app; app()", *command.split()]
    )
    folder = tmp_path / "killed.training"
    while not list(folder.glob("reptile-*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    assert list(folder.iterdir())
    assert train(metabo, runs_file, killed, "--resume").exit_code == 0
    assert Prior.load(killed).digest == Prior.load(through).digest
    assert not folder.exists()
