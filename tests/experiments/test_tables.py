"""Numbers in the documents are those of the committed results."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(EXPERIMENTS), *sys.path])
    SCRIPT = runpy.run_path(str(EXPERIMENTS / "tables.py"))


@pytest.mark.parametrize("path", SCRIPT["DOCUMENTS"], ids=lambda path: str(path.parent.name))
def test_documents_are_up_to_date(path: Path) -> None:
    document = path.read_text()
    assert "<!-- results:" in document
    assert SCRIPT["updated"](document, SCRIPT["RESULTS"]) == document


def test_tables_are_made_from_rows(tmp_path: Path) -> None:
    document = "before\n<!-- results: demo_regret -->\nold\n<!-- end -->\nafter\n"
    assert SCRIPT["NOT_RUN"] in SCRIPT["updated"](document, tmp_path)
    rows = [
        {"problem": "p", "task": t, "seed": 0, "method": m, "n": n, "regret": regret + t}
        for m, n, regret in [("random", 1, 0.5), ("random", 15, 0.25), ("metabo", 1, 0.125)]
        for t in (0, 1)
    ]
    (tmp_path / "demo").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "demo" / "regret.csv", index=False)
    lines = SCRIPT["updated"](document, tmp_path).splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "| problem | method | n = 1 | n = 15 |" in lines
    assert "| p | random | 1 | 0.75 |" in lines
    assert "| p | metabo | 0.625 |  |" in lines


def test_minutes_are_those_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "meta.json").write_text('{"seconds": 754}')
    line = "| `slow.py` | <!-- minutes: slow -->7<!-- end -->, and 3 |"
    assert SCRIPT["updated"](line, tmp_path) == line.replace(">7<", ">13<")


def test_the_strongest_is_of_those_in_all_problems_and_none_of_ours(tmp_path: Path) -> None:
    levels = {"metabo": 0.1, "exact Bayes": 0.0, "vanilla GP": 0.8, "TPE": 0.5, "RGPE": 0.2}
    rows = [
        {"problem": p, "task": t, "seed": 0, "method": m, "n": n, "regret": level / n, "seconds": 1}
        for p in ("first", "second")
        for m, level in levels.items()
        for t in "abc"
        for n in range(1, 26)
        if (p, m) != ("second", "RGPE")
    ]
    (tmp_path / "bo_logistic").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "bo_logistic" / "rows.csv", index=False)
    lines = SCRIPT["TABLES"]["bo_logistic"](tmp_path).splitlines()
    told = [line for line in lines if line.startswith("- Of the others")]
    assert [line.split(" has the")[0] for line in told] == ["- Of the others TPE"] * 4
    assert told[1].startswith(
        "- Of the others TPE has the smallest regret after 5; minus metabo's: 0.08 "
    )


def test_the_related_experiment_is_compared_curve_by_curve(tmp_path: Path) -> None:
    """Errors that differ by a constant have an interval of no width, whatever the curves."""
    behind = {"Reptile": 0.0, "joint pre-training": 0.5, "random initialisation": 2.0}
    rows = [
        {"problem": "p", "task": t, "method": m, "n": n, "squared_error": 10 * t + more + 4 / n}
        for m, more in behind.items()
        for n in (1, 2)
        for t in range(8)
    ]
    folder = tmp_path / "reptile_experiment_logistic"
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    training = {"method": ["Reptile"], "outer_iterations": [100], "seconds": [2.0]}
    pd.DataFrame(training).to_csv(folder / "training.csv", index=False)
    timing = {"loop": ["one task at a time", "metabo"], "seconds_a_step": [0.1, 0.004]}
    pd.DataFrame(timing).to_csv(folder / "timing.csv", index=False)
    (folder / "meta.json").write_text('{"seconds": 9, "settings": {"outer_iterations": 100}}')
    table = SCRIPT["TABLES"]["reptile_experiment_logistic"](tmp_path)
    last = table.splitlines()[8].split("|")
    assert [cell.split(" (")[0].strip() for cell in last[1:5]] == ["2", "2", "0.5", "2"]
    assert "95% interval 0.5 to 0.5" in last[3]
    assert "25 times as long" in table
