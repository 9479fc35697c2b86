"""`metabo suggest`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from metabo.constraint import Constraint
from metabo.optimizer import Optimizer, PriorCollapsedWarning
from metabo.prior import Prior

Run = Callable[..., Result]

OBSERVATIONS = "x2,operator,value,x1\n0.5,Ann,3.5,1\n0.25,[/red],2.5,-2\n"


@pytest.fixture
def observations(tmp_path: Path) -> Path:
    path = tmp_path / "today.csv"
    path.write_text(OBSERVATIONS)
    return path


def test_says_what_the_optimizer_says(
    metabo: Run, prior: Prior, prior_file: Path, observations: Path
) -> None:
    result = metabo("suggest", prior_file, observations, "--output", "value", "-n", 2, "--json")
    found = json.loads(result.stdout)
    optimizer = Optimizer(prior)
    optimizer.tell({"x1": 1, "x2": 0.5}, 3.5)
    optimizer.tell({"x1": -2, "x2": 0.25}, 2.5)
    points = optimizer.ask(2)
    assert [s["x"] for s in found["suggestions"]] == points
    assert found["suggestions"][1]["expected"] == optimizer.expect(points)[1]._asdict()
    assert found["best"] == {"x": {"x1": 1.0, "x2": 0.5}, "y": 3.5}
    assert (found["observations"], found["pending"], found["output"]) == (2, 0, "value")
    assert found["prior_weight"] == pytest.approx(float(optimizer.model.prior_weight))


@pytest.mark.parametrize("content", [None, b"", b"x1,x2,value\n"])
def test_nothing_measured_yet(
    metabo: Run, prior: Prior, prior_file: Path, content: bytes | None
) -> None:
    arguments = [] if content is None else ["-"]
    result = metabo("suggest", prior_file, *arguments, "--json", stdin=content)
    found = json.loads(result.stdout)
    assert found["suggestions"][0]["x"] == Optimizer(prior).ask()
    assert found["best"] is None


def test_the_table_says_why(metabo: Run, prior_file: Path, observations: Path) -> None:
    result = metabo("suggest", prior_file, observations, "--output", "value")
    assert result.exit_code == 0
    for words in ("expected value", "90% interval", "of the posterior rests on", "best of 2 so"):
        assert words in result.stdout


def test_a_row_without_a_value_is_under_way(metabo: Run, prior_file: Path, tmp_path: Path) -> None:
    """What is suggested can be appended to the observations as it is, and filled in later."""
    path = tmp_path / "today.csv"
    result = metabo("suggest", prior_file, "--output", "value", "-n", 2, "-o", path)
    assert result.exit_code == 0
    first = pd.read_csv(path)
    assert list(first.columns) == [
        *("x1", "x2", "value", "expected_mean", "expected_low", "expected_high")
    ]
    first.loc[0, "value"] = 3.0
    first.to_csv(path, index=False)
    result = metabo("suggest", prior_file, path, "--output", "value", "--json")
    found = json.loads(result.stdout)
    assert (found["observations"], found["pending"]) == (1, 1)
    assert "1 point without a value" in result.stderr
    x = found["suggestions"][0]["x"]
    assert abs(x["x1"] - first["x1"][1]) > 0.01 or abs(x["x2"] - first["x2"][1]) > 0.01


def test_the_output_is_known_from_training_or_is_the_only_other_column(
    metabo: Run, prior: Prior, prior_file: Path, tmp_path: Path
) -> None:
    table = "x1,x2,operator,yield\n1,0.5,7,3.5\n"
    result = metabo("suggest", prior_file, "-", "--json", stdin=table.encode())
    assert result.exit_code == 2
    assert "name it with --output" in result.stderr
    replace(prior, provenance={"table": {"output": "yield"}}).save(tmp_path / "other")
    result = metabo("suggest", tmp_path / "other", "-", "--json", stdin=table.encode())
    assert json.loads(result.stdout)["best"]["y"] == 3.5
    result = metabo("suggest", prior_file, "-", "--json", stdin=b"x2,x1,y\n0.5,1,3.5\n")
    assert json.loads(result.stdout)["output"] == "y"


def test_direction_fixed_inputs_and_candidates(
    metabo: Run, prior: Prior, prior_file: Path, tmp_path: Path
) -> None:
    result = metabo("suggest", prior_file, "--minimize", "--fix", "x2=0.25", "-o", "-")
    found = pd.read_csv(io.StringIO(result.stdout))
    assert found["x2"].tolist() == [0.25]
    assert found["x1"][0] == Optimizer(prior, minimize=True).ask(fixed={"x2": 0.25})["x1"]
    candidates = tmp_path / "candidates.csv"
    candidates.write_text("price,x1,x2\n1,0.5,0.5\n2,-1,0.25\n")
    result = metabo("suggest", prior_file, "--candidates", candidates, "-n", 2, "-o", "-")
    assert sorted(pd.read_csv(io.StringIO(result.stdout))["x1"]) == [-1, 0.5]
    result = metabo("suggest", prior_file, "--candidates", candidates, "-n", 3)
    assert result.exit_code == 2
    assert "all 2 candidates" in result.stderr


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"x1,value\n1,2\n", "no column 'x2'"),
        (b"x1,x2,value\n1,0.5,high\n", "line 2: 'value' is 'high', not a number"),
        (b"x1,x2,value\n1,0.5,2\n\n1,0.5,high\n", "line 4: 'value' is 'high'"),
        (b"x1,x2,value\n1,0.5,1e999\n", "y is inf"),
        (b"x1,x2,value\n1,,2\n", "input 'x2' is missing"),
        (b"x1,x2,value\n99,0.5,2\n", "'x1' is 99.0, outside"),
        (b"x1,x2,value\n1,a,2\n", "input 'x2' is 'a'; it must be a number"),
        (b"x1,x1,value\n1,1,2\n", "two columns are called 'x1'"),
        (b"x1,x2,\xff\n1,1,2\n", "not in UTF-8"),
        (b"x1,x2,value\n" + b"1,0.5,2\n" * 2001, "has 2001 rows"),
    ],
)
def test_bad_observations(metabo: Run, prior_file: Path, table: bytes, message: str) -> None:
    result = metabo("suggest", prior_file, "-", "--output", "value", stdin=table)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stdout == ""


def test_bad_arguments(metabo: Run, prior_file: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(prior_file.read_bytes()[:-9])
    for arguments, message in [
        ((tmp_path / "none",), "there is no prior at"),
        ((tmp_path / "broken",), "truncated, damaged"),
        ((prior_file, tmp_path / "none.csv"), "none.csv: No such file"),
        ((prior_file, "--fix", "x1"), "NAME=VALUE"),
        ((prior_file, "--fix", "x3=1"), "'x3'"),
        ((prior_file, "-n", "0"), "-n"),
    ]:
        result = metabo("suggest", *arguments)
        assert result.exit_code == 2, arguments
        assert message in result.stderr, arguments
    assert "Traceback" not in result.output


def test_a_huge_value_and_a_task_unlike_the_earlier_ones(metabo: Run, prior_file: Path) -> None:
    table = b"x1,x2,y\n1,0.5,1e12\n2,0.5,-1e12\n-3,0.1,5e11\n"
    result = metabo("suggest", prior_file, "-", "--json", stdin=table)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["prior_weight"] < 0.1
    assert "Prior's family" in found["notes"][0]


def test_a_failed_evaluation_is_not_proposed_again(
    metabo: Run, prior: Prior, prior_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "today.csv"
    path.write_text("x1,x2,value\n1,0.5,3.5\n-2,0.25, Failed\n")
    found = json.loads(metabo("suggest", prior_file, path, "--json").stdout)
    optimizer = Optimizer(prior)
    optimizer.tell({"x1": 1, "x2": 0.5}, 3.5)
    optimizer.tell({"x1": -2, "x2": 0.25}, failed=True)
    assert found["suggestions"][0]["x"] == optimizer.ask()
    assert (found["observations"], found["pending"]) == (1, 0)


def test_constraints(metabo: Run, prior: Prior, prior_file: Path, tmp_path: Path) -> None:
    limit = tmp_path / "dose.safetensors"
    replace(prior, provenance={"table": {"output": "dose"}}).save(limit)
    path = tmp_path / "today.csv"
    path.write_text("x1,x2,value,dose\n1,0.5,3.5,9\n0,0.5,2.5,1\n")
    arguments = ("suggest", prior_file, path, "--output", "value", "--constraint", f"{limit} <= 2")
    found = json.loads(metabo(*arguments, "--json").stdout)
    optimizer = Optimizer(prior, constraints={"dose": Constraint(prior, high=2.0)})
    optimizer.tell({"x1": 1, "x2": 0.5}, 3.5, constraints={"dose": 9})
    optimizer.tell({"x1": 0, "x2": 0.5}, 2.5, constraints={"dose": 1})
    # The doses are unlike any that this Prior can be of.
    with pytest.warns(PriorCollapsedWarning, match="constrained output 'dose'"):
        assert found["suggestions"][0]["x"] == optimizer.ask()
    assert "constrained output 'dose'" in found["notes"][0]
    assert found["best"]["y"] == 2.5
    path.write_text("x1,x2,value\n1,0.5,3.5\n")
    assert "no column 'dose', which is constrained" in metabo(*arguments).stderr


@pytest.mark.parametrize("limit", ["prior", "prior<=", "prior<=much", "<=>1", "prior<1"])
def test_constraints_that_make_no_sense(metabo: Run, prior_file: Path, limit: str) -> None:
    result = metabo("suggest", prior_file, "--constraint", limit)
    assert result.exit_code == 2
    assert result.stderr


def test_a_session_that_is_in_use(
    metabo: Run, prior: Prior, prior_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "session.jsonl"
    with Optimizer(prior, journal=path) as optimizer:
        first = optimizer.ask()
        optimizer.tell(first, 3.5)
        optimizer.ask()
        content = path.read_bytes()
        found = json.loads(metabo("suggest", prior_file, path, "--json").stdout)
        assert (found["observations"], found["pending"]) == (1, 1)
        assert found["suggestions"][0]["x"] == optimizer.ask()
        assert path.read_bytes().startswith(content)
