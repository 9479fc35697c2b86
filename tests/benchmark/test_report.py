"""Tables from rows."""

from __future__ import annotations

import pandas as pd
import pytest
from rich.console import Console

from metabo.benchmark.metrics import bootstrap_interval
from metabo.benchmark.report import gap_closed_by, markdown_by_count, summarise, table

ERRORS = {
    ("vanilla GP", 1): [4.0, 8.0, 6.0],
    ("vanilla GP", 5): [2.0, 2.0, 2.0],
    ("metabo", 1): [1.0, 2.0, 9.0],
    ("metabo", 5): [1.0, 1.0, 1.0],
    ("exact Bayes", 1): [2.0, 2.0, 2.0],
    ("exact Bayes", 5): [0.0, 0.0, 0.0],
}
ROWS = pd.DataFrame(
    [
        {"problem": "p", "task": t, "seed": 0, "method": method, "n": n, "squared_error": error}
        for (method, n), errors in ERRORS.items()
        for t, error in enumerate(errors)
    ]
)


def test_summary() -> None:
    found = summarise(ROWS, "squared_error")
    row = found[(found["method"] == "metabo") & (found["n"] == 1)].iloc[0]
    assert (row["mean"], row["median"], row["runs"]) == (4.0, 2.0, 3)
    assert (row["low"], row["high"]) == bootstrap_interval([1.0, 2.0, 9.0])
    assert list(found["method"].unique()) == ["vanilla GP", "metabo", "exact Bayes"]


def test_summary_of_some_counts_is_a_part_of_that_of_all() -> None:
    found = summarise(ROWS, "squared_error")
    some = summarise(ROWS, "squared_error", (5, 7))
    assert set(some["n"]) == {5}
    pd.testing.assert_frame_equal(some, found[found["n"] == 5].reset_index(drop=True))


def test_gap_closed_by_n() -> None:
    assert gap_closed_by(ROWS, "metabo").to_dict() == pytest.approx({1: 0.5, 5: 0.5})


def test_table_has_a_row_for_each_method() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table(summarise(ROWS, "squared_error"), "errors", (1, 5, 7)))
    lines = [line.split() for line in capture.get().splitlines() if line.strip()]
    assert lines[0] == ["errors"]
    assert lines[1] == ["(mean", "of", "3", "runs)"]
    assert lines[2] == ["n", "observations", "1", "5"]
    assert lines[-2] == ["metabo", "4", "1"]


def test_by_count_has_a_row_for_each_n_with_intervals() -> None:
    summary = pd.DataFrame(
        [
            {"n": 2, "method": "a", "mean": 0.51, "low": 0.4, "high": 0.6},
            {"n": 1, "method": "a", "mean": 1.0, "low": 0.9, "high": 1.1},
            {"n": 2, "method": "b", "mean": 0.25, "low": 0.125, "high": 0.5},
        ]
    )
    assert markdown_by_count(summary).splitlines() == [
        "| n | a | b |",
        "|---:|---:|---:|",
        "| 1 | 1 (0.9 to 1.1) |  |",
        "| 2 | 0.51 (0.4 to 0.6) | 0.25 (0.125 to 0.5) |",
    ]
