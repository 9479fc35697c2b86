"""The experiment runs, and leaves the rows and their origin."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "bo_hpobench.py"


def test_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(SCRIPT))
    script["main"](smoke=True, seed=2, out=tmp_path)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows.groupby("method")["n"].apply(list).to_dict() == {
        method: list(range(1, 9)) for method in ("metabo", "random", "vanilla GP")
    }
    assert set(rows["seed"]) == {2}
    assert json.loads((tmp_path / "meta.json").read_text())["settings"]["settings"] == 100
    assert "vanilla GP after 8 minus metabo after 3" in capsys.readouterr().out
