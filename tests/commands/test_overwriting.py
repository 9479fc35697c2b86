"""What a command reads is never overwritten by what it writes, nor are other words ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from metabo.optimizer import Optimizer
from metabo.prior import Prior

Run = Callable[..., Result]


@pytest.mark.parametrize("command", ["train", "compare"])
def test_runs_are_not_overwritten(metabo: Run, runs_file: Path, command: str) -> None:
    before = runs_file.read_bytes()
    columns = ("--task", "batch", "--output", "damage", "--smoke")
    result = metabo(command, runs_file, *columns, "-o", runs_file)
    assert result.exit_code == 2
    assert "is read from and would be overwritten" in result.stderr
    assert runs_file.read_bytes() == before


@pytest.mark.parametrize("command", ["suggest", "report"])
def test_priors_and_observations_are_not_overwritten(
    metabo: Run, prior_file: Path, tmp_path: Path, command: str
) -> None:
    table = tmp_path / "today.csv"
    table.write_text("x1,x2,y\n0,0.5,1\n")
    (tmp_path / "link.csv").symlink_to(table)
    for out in (prior_file, table, tmp_path / "link.csv"):
        result = metabo(command, prior_file, table, "-o", out)
        assert result.exit_code == 2
        assert "is read from and would be overwritten" in result.stderr


def test_another_direction_than_the_journals_is_refused(
    metabo: Run, prior: Prior, prior_file: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "session.jsonl"
    with Optimizer(prior, journal=journal) as optimizer:
        optimizer.tell({"x1": 0.0, "x2": 0.5}, 1.0)
    result = metabo("suggest", prior_file, journal, "--minimize")
    assert result.exit_code == 2
    assert "of a session that maximises: give no other direction" in result.stderr
    assert metabo("suggest", prior_file, journal, "--maximize", "--count", 1).exit_code == 0


def test_an_input_is_no_output(metabo: Run, prior_file: Path) -> None:
    result = metabo("suggest", prior_file, "-", "--output", "x1", stdin=b"x1,x2,y\n0,0.5,1\n")
    assert result.exit_code == 2
    assert "'x1' is an input of the prior" in result.stderr


@pytest.mark.parametrize("command", ["suggest", "report", "train", "compare", "demo"])
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range_are_refused(metabo: Run, command: str, seed: int) -> None:
    needed: dict[str, tuple[str, ...]] = {
        "suggest": ("p.safetensors",),
        "report": ("p.safetensors",),
        "train": ("r.csv", "--task", "t", "--output", "y", "-o", "p.safetensors"),
        "compare": ("r.csv", "--task", "t", "--output", "y"),
    }
    result = metabo(command, *needed.get(command, ()), "--seed", seed)
    assert result.exit_code == 2
    assert "Invalid value for '--seed'" in result.stderr


def test_an_empty_file_of_results_is_named(metabo: Run, tmp_path: Path) -> None:
    (tmp_path / "none.csv").touch()
    result = metabo("results", tmp_path / "none.csv")
    assert result.exit_code == 2
    assert "none.csv is empty" in result.stderr
