"""`metabo check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_what_is_found_as_a_table_and_as_json(metabo: Run, runs_file: Path) -> None:
    arguments = ("check", runs_file, "--task", "batch", "--output", "damage")
    result = metabo(*arguments)
    assert result.exit_code == 0
    assert "only 3 tasks" in result.stdout
    assert "18 runs of 3 tasks: they can be learned from" in result.stdout
    found = json.loads(metabo(*arguments, "--json").stdout)
    assert (found["rows"], found["tasks"], found["fit"]) == (18, 3, True)
    assert [f["severity"] for f in found["findings"]] == ["doubtful"]


def test_wrong_tables_end_with_2(metabo: Run) -> None:
    table = b"batch,dose,damage\nb1,1,2\nb2,[/x],\n"
    result = metabo("check", "-", "--task", "batch", "--output", "damage", stdin=table)
    assert result.exit_code == 2
    assert "'[/x]' in line 3" in result.stdout  # not read as markup
    assert "1 of 2 cells are missing, first in line 3" in result.stdout
    assert "repair what is wrong first" in result.stdout


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (b"\nbatch,dose,damage\n\n \t\r\nb1,1,2\r\n\nb2,oops,\n", 7),
        (b'batch,dose,damage\n"b\n1",1,2\nb2,oops,\n', 4),
        (b"batch,dose,damage\rb1,1,2\r\rb2,oops,\r", 4),
    ],
)
def test_lines_are_those_of_the_file(metabo: Run, table: bytes, line: int) -> None:
    result = metabo("check", "-", "--task", "batch", "--output", "damage", stdin=table)
    assert f"'oops' in line {line}" in result.stdout
    assert f"cells are missing, first in line {line}" in result.stdout


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "is empty"),
        (b"batch,dose,damage\n", "is empty"),
        (b"batch,damage\nb1,1\n", "no input columns"),
        (b"batch,dose,harm\nb1,1,2\n", "no output column 'damage'"),
        (b"batch,dose,dose,damage\nb1,1,2,3\n", "two columns are called 'dose'"),
    ],
)
def test_no_table_of_runs(metabo: Run, table: bytes, message: str) -> None:
    result = metabo("check", "-", "--task", "batch", "--output", "damage", stdin=table)
    assert result.exit_code == 2
    assert message in result.stderr


def test_runs_outside_the_declared_space_are_wrong(
    metabo: Run, runs_file: Path, tmp_path: Path
) -> None:
    space = tmp_path / "space.json"
    space.write_text('{"dose": {"low": 0, "high": 2}}')
    options = ("--task", "batch", "--output", "damage", "--space", space)
    result = metabo("check", runs_file, *options)
    assert result.exit_code == 2
    assert "outside" in result.stdout
