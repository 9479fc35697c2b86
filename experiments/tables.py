"""Put the numbers of committed results into the documents, so that none is typed by hand.

A document says `<!-- results: NAME -->` where a table is wanted, and `<!-- end -->` after it.

    python experiments/tables.py [--check]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from metabo.benchmark.metrics import paired_difference
from metabo.benchmark.report import markdown, summarise

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "experiments" / "README.md",
    ROOT / "docs" / "when-it-helps.md",
)
NOT_RUN = "*(no results are committed yet)*"
_SECTION = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def demo_few_shot(results: Path) -> str:
    """Mean squared errors of the demo."""
    rows = pd.read_csv(results / "demo" / "few_shot.csv")
    return markdown(summarise(rows, "squared_error"), (1, 2, 3, 5, 8, 10))


def demo_regret(results: Path) -> str:
    """Regrets of the demo."""
    rows = pd.read_csv(results / "demo" / "regret.csv")
    return markdown(summarise(rows, "regret"), (1, 2, 3, 5, 10, 15))


def bo_hpobench(results: Path) -> str:
    """Regrets with each data set left out, and the comparison with the vanilla GP."""
    rows = pd.read_csv(results / "bo_hpobench" / "rows.csv")
    regrets = rows.set_index(["method", "n", "task", "seed"])["regret"].sort_index()
    lines = [markdown(summarise(rows, "regret"), (1, 2, 3, 5, 8, 10, 15, 25)), ""]
    for ours, theirs in ((3, 8), (25, 25)):
        gain = paired_difference(regrets["vanilla GP", theirs], regrets["metabo", ours])
        lines.append(
            f"- Regret of the vanilla GP after {theirs} minus metabo's after {ours}: {gain}."
        )
    return "\n".join(lines)


def few_shot(name: str, results: Path) -> str:
    """Scores of predictions, a table each."""
    rows = pd.read_csv(results / name / "rows.csv")
    tables = []
    for measure in ("squared_error", "negative_log_density", "coverage"):
        title = measure.replace("_", " ").capitalize()
        tables.append(f"{title}:\n\n{markdown(summarise(rows, measure))}")
    return "\n\n".join(tables)


def wrong_prior(results: Path) -> str:
    """Regrets on tasks that are not of the prior's family."""
    rows = pd.read_csv(results / "wrong_prior" / "rows.csv")
    return markdown(summarise(rows, "regret"), (3, 5, 10, 20, 30))


TABLES: dict[str, Callable[[Path], str]] = {
    "demo_few_shot": demo_few_shot,
    "demo_regret": demo_regret,
    "bo_hpobench": bo_hpobench,
    "fewshot_logistic": partial(few_shot, "fewshot_logistic"),
    "fewshot_normal": partial(few_shot, "fewshot_normal"),
    "few_tasks": partial(few_shot, "few_tasks"),
    "wrong_prior": wrong_prior,
}


def updated(document: str, results: Path) -> str:
    """A document with its tables as the results have them."""

    def section(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        try:
            body = TABLES[name](results)
        except FileNotFoundError:
            body = NOT_RUN
        return f"{start}\n{body}\n\n{end}"

    return _SECTION.sub(section, document)


def main(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if it had to.")
    ] = False,
) -> None:
    """Update the documents."""
    for path in DOCUMENTS:
        old = path.read_text()
        new = updated(old, RESULTS)
        if check and new != old:
            raise SystemExit(f"{path} is not what the results say: run experiments/tables.py")
        path.write_text(new)


if __name__ == "__main__":
    typer.run(main)
