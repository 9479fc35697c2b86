"""The experiment runs, and leaves the rows and their origin."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "time_to_quality.py"


@pytest.mark.slow
def test_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(SCRIPT))
    script["main"](smoke=True, seed=2, out=tmp_path)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert set(rows["method"]) == set(script["METHODS"])
    assert len(rows) == 10
    assert (rows["ratio"] > 0).all()
    assert list(rows["ratio"]) == pytest.approx(list(rows["mse"] / rows["exact_mse"]), rel=1e-4)
    assert json.loads((tmp_path / "meta.json").read_text())["settings"]["seed"] == 2
    assert (tmp_path / "time_to_quality.svg").stat().st_size > 1000
    assert capsys.readouterr().out.count("s of a core); best") == 5
