"""A run that is killed goes on without repeating or losing a cell; a cell that fails is kept."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from metabo.benchmark.cells import Cell, run_cells

# Cells note that they ran; the one with x = 3 ends the process, unless it is told not to.
SCRIPT = """
import os, sys
from functools import partial
from pathlib import Path
from metabo.benchmark.cells import Cell, run_cells

def call(x):
    with open(sys.argv[2], "a") as file:
        file.write(f"{x}\\n")
    if x == 3 and sys.argv[3] == "die":
        os.kill(os.getpid(), 9)
    return [{"x": x, "square": x * x}]

cells = [Cell({"x": x}, partial(call, x)) for x in range(6)]
print(run_cells(cells, Path(sys.argv[1]), label="squares", jobs=1).rows.to_csv(index=False))
"""


def call(log: list[int], x: int) -> list[dict[str, int]]:
    log.append(x)
    if x == 1:
        raise ZeroDivisionError("the cell of 1")
    return [{"x": x}, {"x": x}]


def cells(log: list[int], count: int = 3) -> list[Cell]:
    return [Cell({"x": x}, partial(call, log, x)) for x in range(count)]


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def start(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "cells"), str(log), how]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert start("die").returncode == -9
    assert log.read_text().split() == ["0", "1", "2", "3"]
    assert start("live").stdout.split() == ["x,square", "0,0", "1,1", "2,4", "3,9", "4,16", "5,25"]
    assert log.read_text().split() == ["0", "1", "2", "3", "3", "4", "5"]


def test_only_what_is_missing_is_run(tmp_path: Path) -> None:
    first: list[int] = []
    run_cells(cells(first), tmp_path, label="", jobs=1)
    again: list[int] = []
    results = run_cells(cells(again, 5), tmp_path, label="", jobs=1)
    assert (first, again) == ([0, 1, 2], [3, 4])
    pd.testing.assert_frame_equal(results.rows, pd.DataFrame({"x": [0, 0, 2, 2, 3, 3, 4, 4]}))


def test_a_failure_is_kept_with_its_traceback(tmp_path: Path) -> None:
    run_cells(cells([]), tmp_path, label="", jobs=1)
    log: list[int] = []
    (failure,) = run_cells(cells(log), tmp_path, label="", jobs=1).failures
    assert log == []
    assert failure["x"] == 1
    assert failure["error"] == "ZeroDivisionError: the cell of 1"
    assert "in call" in failure["traceback"]
    run_cells(cells(log), tmp_path, label="", jobs=1, retry=True)
    assert log == [1]


def test_the_key_decides(tmp_path: Path) -> None:
    log: list[int] = []
    run_cells([Cell({"x": 0, "evaluations": 5}, partial(call, log, 0))], tmp_path, label="", jobs=1)
    other = [Cell({"x": 0, "evaluations": 6}, partial(call, log, 0))]
    run_cells(other, tmp_path, label="", jobs=1)
    assert log == [0, 0]
    with pytest.raises(ValueError, match="1 cells have the key of another cell"):
        run_cells(other + other, tmp_path, label="", jobs=1)


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"key": {"x": 0}}', '{"rows": 3}'])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: str) -> None:
    cell = cells([])[0]
    (tmp_path / f"{cell.digest}.json").write_text(content)
    with pytest.raises(ValueError, match=f"{cell.digest}.json is not the result of its cell"):
        run_cells([cell], tmp_path, label="", jobs=1)


def test_the_file_of_another_cell_is_named(tmp_path: Path) -> None:
    first, _, third = cells([])
    run_cells([first], tmp_path, label="", jobs=1)
    (tmp_path / f"{first.digest}.json").rename(tmp_path / f"{third.digest}.json")
    with pytest.raises(ValueError, match=f"{third.digest}.json is not the result of its cell"):
        run_cells([third], tmp_path, label="", jobs=1)
