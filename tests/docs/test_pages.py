"""The documentation: its code runs as it stands, and its pages need nothing from elsewhere.

Only the training is made small, by its settings: the pages show what users would write.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import metabo
from metabo.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCKS = re.compile(r"^```(python|sh|json)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SMALLER = {
    "train": ["--smoke"],
    "compare": ["--smoke", "--evaluations=2", "--repeats=1", "--jobs=1"],
}
SMALL = metabo.MetaTrainSettings.smoke()


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with the example's files."""
    for file in [*DOCS.glob("*.csv"), DOCS / "reactions.py"]:
        shutil.copy(file, tmp_path)
    three_batches = (DOCS / "runs.csv").read_text().splitlines()[:37]
    (tmp_path / "few.csv").write_text("\n".join(three_batches))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("reactions", None)


def run_commands(block: str) -> None:
    """Every line that is a command of ours."""
    for line in re.sub(r"\\\n", " ", block).splitlines():
        command, *arguments = shlex.split(line, comments=True) or [""]
        if command != "metabo":
            continue
        arguments += SMALLER.get(arguments[0], [])
        if arguments[0] == "compare":
            arguments[1] = "few.csv"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"


def small_training(monkeypatch: pytest.MonkeyPatch, *functions: Callable) -> None:
    for function in functions:
        monkeypatch.setitem(function.__kwdefaults__, "settings", SMALL)
        monkeypatch.setitem(function.__kwdefaults__, "progress", False)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ax and of a Prior that is as small as this
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.usefixtures("laboratory")
def test_the_code_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_training(monkeypatch, metabo.meta_train)
    if page.stem == "optuna":
        from metabo.integrations.optuna import prior_from_studies

        small_training(monkeypatch, prior_from_studies)
    names: dict[str, object] = {}
    for kind, block in BLOCKS.findall(page.read_text()):
        if kind == "sh":
            run_commands(block)
        elif kind == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(block, page.name, "exec"), names)


@pytest.mark.usefixtures("laboratory")
def test_the_commands_that_need_no_training() -> None:
    run_commands("metabo check runs.csv --task batch --output yield  # the quick start's first\n")
    for page in PAGES:
        for kind, block in BLOCKS.findall(page.read_text()):
            if kind == "python":
                compile(block, page.name, "exec")


def test_the_tables_are_what_the_simulation_gives() -> None:
    for name, table in runpy.run_path(str(DOCS / "reactions.py"))["tables"]().items():
        lines = [",".join(map(str, row)) for row in table]
        assert (DOCS / name).read_text().splitlines() == lines


def test_names_of_the_table_of_symbols_exist() -> None:
    page = (DOCS / "how-it-works.md").read_text()
    rows = re.findall(r"^\| .+? \| (`.*`) \| (`.*`) \|$", page, re.MULTILINE)
    assert len(rows) > 10
    for names, files in rows:
        source = "".join((ROOT / file).read_text() for file in re.findall(r"`(.+?)`", files))
        for name in re.findall(r"[.`](\w+)`", names):
            assert re.search(rf"\b{name}\b", source), f"{name} is not in {files}"


@pytest.mark.slow
def test_the_site_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Warnings are errors here, as in `make docs`."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = list(site.glob("*.html"))
    assert {page.stem for page in pages} == {page.stem for page in PAGES} | {"404"}
    for page in pages:
        html = page.read_text()
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*https?://[^>]*>", html)
        assert ":math:" not in html
        assert not re.search(r"\w\]_", html)
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?https?:", style.read_text())
