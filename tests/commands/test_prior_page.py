"""`metabo report`: one page, complete without a network, that shows names and never obeys them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, Float
from typer.testing import CliRunner, Result

from metabo.cli import app
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import InputSpace

Run = Callable[..., Result]
Made = Callable[..., Prior]

SCRIPT = "<script>document.title='hit'</script>"
IMAGE = "\"'><img src=x onerror=\"document.title='hit'\">"
HOSTILE = (SCRIPT, IMAGE, "</style></svg><b>$\\frac{1}{0$", "{{ 7 * 7 }}", "a\x00b]]>\u202e")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


class Elements(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def written(metabo: Run, tmp_path: Path, *arguments: object) -> str:
    result = metabo("report", *arguments, "-o", tmp_path / "new" / "page.html")
    assert result.exit_code == 0, result.stderr
    return (tmp_path / "new" / "page.html").read_text()


@pytest.fixture(scope="module")
def hostile_prior(make_prior: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every text that comes from the user's files is markup, a formula or a template."""
    script, image, formula, template, control = HOSTILE
    space = ConfigurationSpace()
    space.add(
        Float(script, (1, 9)),
        Float(formula, (1e-4, 1), log=True),
        CategoricalHyperparameter("kind", [image, template, control]),
    )
    prior = make_prior(InputSpace(space, [script, formula, "kind"]), broad=0.1)
    table = {"file": image, "task": script, "output": template, "left_out_points": 8.0}
    chosen = {"num_components": 4, "evidence": {"4": -1.5}, "noise_sd": 0.1, "levels": script}
    provenance = {"table": table, "chosen": chosen, "data": {"num_tasks": script}}
    provenance |= {"settings": {script: image}, "software": {"metabo": script}, "seed": image}
    path = tmp_path_factory.mktemp("hostile") / "prior.safetensors"
    replace(prior, provenance=provenance).save(path)
    return path


@pytest.fixture(scope="module")
def hostile_page(hostile_prior: Path) -> str:
    script, image, formula, template, control = HOSTILE
    prior = Prior.load(hostile_prior)
    journal, page = hostile_prior.with_name("j.jsonl"), hostile_prior.with_name("page.html")
    with Optimizer(prior, journal=journal) as optimizer:
        for kind, y in ((image, 1.0), (template, 2.0), (control, 4.0)):
            optimizer.tell({script: 2.0, formula: 0.1, "kind": kind}, y)
    arguments = ["report", hostile_prior, journal, "-o", page]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return page.read_text()


def test_what_users_files_say_is_text(hostile_page: str) -> None:
    page = Elements(hostile_page)
    tags = {tag for tag, _ in page.found}
    assert not tags & {"script", "img", "b", "iframe", "object", "a", "link"}
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on")]
    for words in HOSTILE[:4]:
        assert words in page.text
    assert "49" not in re.findall(r"\d+", page.text.partition("All observations")[0])


def test_the_page_needs_nothing_else(hostile_page: str) -> None:
    for _, attributes in Elements(hostile_page).found:
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in hostile_page
    assert not re.search(r"url\((?!#)", hostile_page)


def test_says_what_suggest_says(metabo: Run, prior_file: Path, tmp_path: Path) -> None:
    table = tmp_path / "today.csv"
    table.write_text("x1,x2,y\n1,0.5,3.5\n-2,0.25,2.5\n0,0.75,\n")
    suggest = metabo("suggest", prior_file, table, "--output", "y", "-n", 2, "--json")
    report = metabo(
        "report", prior_file, table, "--output", "y", "-n", 2, "--json", "-o", tmp_path / "p.html"
    )
    said = json.loads(report.stdout)
    assert said.pop("page") == str(tmp_path / "p.html")
    assert said == json.loads(suggest.stdout)
    text = Elements((tmp_path / "p.html").read_text()).text
    for suggestion in said["suggestions"]:
        assert f"{suggestion['expected']['mean']:.5g}" in text
    assert f"{said['prior_weight']:.0%}" in text
    assert "1 point without a value" in text


def test_a_prior_alone(metabo: Run, prior_file: Path, tmp_path: Path) -> None:
    page = written(metabo, tmp_path, prior_file)
    assert page.count("<svg") == 2
    assert "What is known now" not in page
    assert page == written(metabo, tmp_path, prior_file)


def test_a_journal_of_another_prior(
    metabo: Run, make_prior: Made, prior_file: Path, tmp_path: Path
) -> None:
    with Optimizer(make_prior(seed=1), journal=tmp_path / "j.jsonl"):
        result = metabo("report", prior_file, tmp_path / "j.jsonl", "-o", tmp_path / "p.html")
    assert result.exit_code == 2
    assert "journal of a session with another prior" in result.stderr
    assert not (tmp_path / "p.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.slow
def test_in_a_browser(hostile_page: str, tmp_path: Path) -> None:
    """Nothing runs, and the figures have a size."""
    path = tmp_path / "page.html"
    # A probe of our own, which the page's own policy would not let run.
    page = re.sub(r"<meta http-equiv.*?>", "", hostile_page, flags=re.DOTALL)
    probe = (
        "<script>addEventListener('load', () => document.body.dataset.svg = [...document"
        ".querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 100).length)"
        "</script></body>"
    )
    path.write_text(page.replace("</body>", probe))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000"]
    found = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120)
    assert "<title>hit" not in found.stdout
    assert 'data-svg="9"' in found.stdout
