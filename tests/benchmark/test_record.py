"""What a run leaves behind can be read back."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from metabo.benchmark.record import write_meta, write_rows


def test_tables_are_read_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"method": ["a", "b"], "regret": [0.1234567, 1e-12]})
    path = write_rows(frame, tmp_path, "errors")
    assert path == tmp_path / "errors.csv"
    assert "0.123457," not in path.read_text()
    pd.testing.assert_frame_equal(pd.read_csv(path), frame, rtol=1e-5)


def test_meta_says_what_is_needed_to_repeat_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [str(tmp_path / "script.py"), "--seed", "3", "--out", str(tmp_path / "runs")]
    monkeypatch.setattr("sys.argv", command)
    write_meta(tmp_path / "meta.json", settings={"seed": 3, "out": Path("runs")}, seconds=1.23)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["command"] == ["script.py", "--seed", "3", "--out", "runs"]
    assert meta["settings"] == {"seed": 3, "out": "runs"}
    assert meta["seconds"] == 1.2
    assert {"command", "machine", "software", "commit", "dirty"} <= meta.keys()
    assert {"torch", "botorch", "python"} <= meta["software"].keys()
