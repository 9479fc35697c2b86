"""Files are complete or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from metabo.benchmark.record import replacing, write_meta, write_table


def test_a_file_is_replaced_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()

    def be_interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert path.read_text() == "first"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_tables_are_read_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"method": ["a", "b"], "regret": [0.1234567, 1e-12]})
    write_table(frame, tmp_path / "rows.csv")
    found = pd.read_csv(tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(found, frame, rtol=1e-5)


def test_meta_says_what_is_needed_to_repeat_a_run(tmp_path: Path) -> None:
    write_meta(tmp_path / "meta.json", settings={"seed": 3, "out": Path("runs")}, seconds=1.23)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["settings"] == {"seed": 3, "out": "runs"}
    assert meta["seconds"] == 1.2
    assert {"command", "machine", "software", "commit", "dirty"} <= meta.keys()
    assert {"torch", "botorch", "python"} <= meta["software"].keys()
