"""Numbers in the documents are those of the committed results."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "experiments" / "tables.py"))


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
