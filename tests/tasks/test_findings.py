"""What is found in tables before training."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabo.tasks.findings import Finding, find

DAYS = pd.date_range("2024-01-01", periods=24)


def runs(**columns: Any) -> pd.DataFrame:
    """A table with nothing to complain of, but for the columns given."""
    generator = np.random.default_rng(0)
    good = {
        "batch": np.repeat([f"b{i}" for i in range(6)], 4),
        "temperature": generator.uniform(20, 80, 24),
        "solvent": ["water", "ethanol"] * 12,
        "growth": generator.normal(size=24),
    }
    return pd.DataFrame({**good, **columns})


def found(frame: pd.DataFrame, output: str = "growth", **options: Any) -> list[Finding]:
    return find(frame, task="batch", output=output, **options)


def replaced(name: str, row: int, value: object) -> pd.DataFrame:
    frame = runs()
    frame[name] = frame[name].astype(object)
    frame.loc[row, name] = value
    return frame


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("a", "there is one run"),
        ("abc", "the same in all runs, as all inputs are"),
        ("aaaa", "the same in all runs, as all inputs are"),
        ("aaaaa", None),
        ("aab", None),
    ],
)
def test_too_few_runs_of_one_point(labels: str, message: str | None) -> None:
    frame = runs()[: len(labels)].assign(batch=list(labels), temperature=1, solvent="water")
    wrong = [f.message for f in found(frame) if f.severity == "wrong"]
    assert len(wrong) == (message is not None)
    assert message is None or message in wrong[0]


def test_a_good_table() -> None:
    assert found(runs()) == []


@pytest.mark.parametrize(
    ("frame", "column", "message"),
    [
        (replaced("growth", 3, None), "growth", "1 of 24 cells are missing, first in line 5"),
        (replaced("batch", 0, None), "batch", "1 of 24 cells are missing, first in line 2"),
        (replaced("solvent", 9, None), "solvent", "missing, first in line 11"),
        (replaced("temperature", 9, "hot"), "temperature", "such as 'hot' in line 11"),
        (replaced("growth", 9, "n/a"), "growth", "such as 'n/a' in line 11"),
        (replaced("growth", 9, 1e308), "growth", r"1e\+308 in line 11, too large"),
        (replaced("temperature", 9, np.inf), "temperature", "inf in line 11, too large"),
        (runs(growth=["good"] * 24), "growth", "holds no numbers:"),
        (runs(growth=DAYS), "growth", "holds no numbers but Timestamp values"),
        (runs(growth=DAYS - DAYS[0]), "growth", "holds no numbers but Timedelta values"),
        (runs(growth=1j * np.arange(24)), "growth", "holds no numbers but complex values"),
        (runs(temperature=DAYS), "temperature", "holds Timestamp values; turn them into numbers"),
        (runs(temperature=DAYS - DAYS[0]), "temperature", "holds Timedelta values; turn them"),
        (runs(temperature=1j * np.arange(24)), "temperature", "holds complex values; turn them"),
        (runs(temperature=[Decimal(i) for i in range(24)]), "temperature", "holds Decimal values"),
        (runs(solvent=["1", "2", "A3"] * 8), "solvent", "'A3' in line 4: .* declare its choices"),
    ],
)
def test_what_is_wrong(frame: pd.DataFrame, column: str, message: str) -> None:
    first = found(frame)[0]
    assert (first.severity, first.column) == ("wrong", column)
    assert pd.Series([first.message]).str.contains(message).all(), first.message


@pytest.mark.parametrize(
    ("frame", "column", "message"),
    [
        (runs(growth=1.5), "growth", "is 1.5 in all rows"),
        (runs(temperature=37), "temperature", "is 37 in all rows"),
        (runs(solvent="water"), "solvent", "is 'water' in all rows"),
        (runs(row=range(24)), "row", "counts the rows"),
        (runs(note=[f"on day {i}" for i in range(24)]), "note", "another text in each row"),
        (runs(batch=["a"] * 12 + ["b"] * 12), "batch", "only 2 tasks"),
        (runs(temperature=[f"{i % 9}.5" for i in range(24)]), "temperature", "stored as text"),
        (runs(batch=range(24)), "batch", "each row is a task of its own"),
        (runs(batch=["a"] + ["b"] * 23), "batch", "1 of 2 tasks have fewer than 3 rows"),
        (runs(batch=["a", "A "] * 12), "batch", "more than one way"),
        (pd.concat([runs(), runs()[:2]]), "batch", "2 rows repeat another one"),
    ],
)
def test_what_is_doubtful(frame: pd.DataFrame, column: str, message: str) -> None:
    findings = found(frame)
    assert {f.severity for f in findings} == {"doubtful"}
    assert any(f.column == column and message in f.message for f in findings), findings


def test_many_choices() -> None:
    solvents = [f"s{i % 60}" for i in range(120)]
    frame = pd.concat([runs()] * 5, ignore_index=True).assign(
        solvent=solvents, temperature=np.random.default_rng(1).uniform(20, 80, 120)
    )
    assert [f.message for f in found(frame)] == ["has 60 choices: few runs will share one"]


def test_scales() -> None:
    generator = np.random.default_rng(0)
    frame = runs(temperature=10 ** generator.uniform(-5, 0, 24), growth=10 ** np.arange(24.0) / 1e9)
    findings = found(frame)
    assert [(f.severity, f.column) for f in findings] == [
        ("note", "growth"),
        ("note", "temperature"),
    ]
    assert "a log scale is taken" in findings[1].message


@pytest.mark.parametrize(
    ("output", "minimize", "expected"),
    [
        ("val_loss", False, "use --minimize"),
        ("Error", False, "use --minimize"),
        ("accuracy", True, "no --minimize"),
        ("val_loss", True, None),
        ("yield", False, None),
        ("error_score", False, None),
    ],
)
def test_direction(output: str, minimize: bool, expected: str | None) -> None:
    findings = found(runs().rename(columns={"growth": output}), output, minimize=minimize)
    assert [f.severity for f in findings] == ([] if expected is None else ["doubtful"])
    assert expected is None or expected in findings[0].message


def test_declared_inputs_need_no_guess() -> None:
    frame = replaced("temperature", 9, "hot")
    assert found(frame, declared=["temperature"]) == []
    assert found(frame, inputs=["solvent"]) == []


def test_unknown_columns() -> None:
    with pytest.raises(ValueError, match="did you mean 'growth'"):
        found(runs(), "grwth")


def test_booleans_are_choices() -> None:
    assert found(runs(stirred=[True, False, False] * 8)) == []


def test_a_column_of_categories_is_one_of_choices() -> None:
    assert found(runs(solvent=pd.Categorical([1, 2, 3] * 8))) == []
