"""The report: what it says is what the rows say, and nothing in it comes from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from metabo.benchmark.page import write_page
from metabo.benchmark.record import read_results
from metabo.cli import app

EVIL = "<script>alert('x')</script> & $\\alpha$"
METHODS = {"metabo": 0.1, "vanilla GP": 0.4, EVIL: 0.7}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {
            "problem": problem,
            "task": f"t{t}",
            "seed": 0,
            "method": method,
            "n": n,
            "regret": level / n + t / 1000,
            "seconds": level,
        }
        for problem in ("curve", EVIL)
        for t in range(6)
        for method, level in METHODS.items()
        for n in range(1, 6)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    failure = {"problem": "curve", "task": "t7", "seed": 0, "method": "metabo"}
    failure |= {"error": "ValueError: <b>", "traceback": "line 1"}
    (tmp_path / "failures.json").write_text(json.dumps([failure]))
    meta = {"settings": {"title": EVIL}, "seconds": 90, "commit": "0123456789abcdef"}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    return tmp_path


class Tags(HTMLParser):
    """All tags, their attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "link", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_page(folder: Path) -> None:
    page = folder / "page.html"
    result = CliRunner().invoke(app, ["results", str(folder), "-o", str(page)])
    assert result.exit_code == 0, result.output
    html = page.read_text()
    parsed = Tags()
    parsed.feed(html)
    assert parsed.open == []
    names = [tag for tag, _ in parsed.tags]
    assert names.count("svg") == 4 + 1  # curves and a diagram for each problem, one for all
    assert not {"script", "link", "img", "iframe", "b"} & set(names)
    for _, attributes in parsed.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"url\((?!#)|@import", html)
    text = " ".join(parsed.text.split())
    assert EVIL in text
    assert "1 runs failed" in text
    assert "ValueError: <b>" in text
    # The mean over tasks of 0.1 / 5 + t / 1000, and when the regret of 0.4 / 5 is reached.
    assert "0.0225" in text
    ours = text[text.index("seconds, mean") :]
    assert re.search(r"metabo 2 0\.1 0\.1 4 ", ours)
    assert re.search(r"vanilla GP 5 0\.4 0\.4 1 ", ours)


def test_packed_rows_and_parquet_are_read(folder: Path) -> None:
    rows = pd.read_csv(folder / "rows.csv")
    rows.to_csv(folder / "rows.csv.gz", index=False)
    (folder / "rows.csv").unlink()
    pd.testing.assert_frame_equal(read_results(folder).rows, rows)
    rows.to_parquet(folder / "other.parquet")
    pd.testing.assert_frame_equal(read_results(folder / "other.parquet").rows, rows)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("problem,task,seed,method,n,regret\np,t,0,m,1,0.5\n")
    with pytest.raises(ValueError, match=r"rows.csv has no column seconds"):
        read_results(path)
    path.write_text("problem,task,seed,method,n,regret,seconds\n")
    with pytest.raises(ValueError, match=r"rows.csv has no rows"):
        read_results(tmp_path)


def test_one_method_and_one_task_make_a_page(folder: Path) -> None:
    rows = pd.read_csv(folder / "rows.csv").query("method == 'vanilla GP' and task == 't0'")
    rows.to_csv(folder / "rows.csv", index=False)
    write_page([read_results(folder)] * 2, folder / "page.html", title="two")
    assert "Critical differences" not in (folder / "page.html").read_text()
