"""`metabo compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.mark.slow
def test_the_answer_as_a_table_and_as_json(metabo: Run, runs_file: Path, tmp_path: Path) -> None:
    arguments = ("compare", runs_file, "--task", "batch", "--output", "damage", "--minimize")
    sizes = ("--evaluations", 3, "--repeats", 1, "--jobs", 1, "--smoke")
    result = metabo(*arguments, *sizes, "-o", tmp_path / "rows.csv")
    assert result.exit_code == 0, result.stderr
    assert "not clear" in result.stdout  # three tasks never suffice
    assert "With fewer than 6 tasks no test can tell" in result.stdout
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows.groupby("method")["task"].nunique().to_dict() == {
        "random": 3,
        "vanilla GP": 3,
        "metabo": 3,
    }
    found = json.loads(metabo(*arguments, *sizes, "--json").stdout)
    assert (found["answer"], found["tasks"]) == ("not clear", 3)
    mean = rows.groupby(["method", "n"])["regret"].mean()
    assert found["regret"]["metabo"]["1"] == pytest.approx(mean["metabo", 1])


def test_too_few_tasks(metabo: Run) -> None:
    table = b"batch,dose,harm\nb1,1,2\nb1,2,3\nb1,3,5\nb2,1,2\n"
    result = metabo("compare", "-", "--task", "batch", "--output", "harm", stdin=table)
    assert result.exit_code == 2
    assert "1 of 2 tasks have three settings" in result.stderr
