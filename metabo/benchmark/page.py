"""The report: one page of HTML with everything in it, which opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from metabo.atomic import replacing
from metabo.benchmark import charts, scores
from metabo.benchmark.ranking import rank_methods
from metabo.benchmark.record import Results
from metabo.pages.page import number, render


def write_page(experiments: Sequence[Results], path: Path, *, title: str) -> None:
    """Write the report.

    Args:
        experiments: A chapter each.
        path: The page.
        title: Of the page.
    """
    chapters = [_chapter(i, results) for i, results in enumerate(experiments)]
    page = render("results.html.j2", title=title, chapters=chapters, at=scores.AT)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _chapter(i: int, results: Results) -> dict[str, Any]:
    found = scores.curves(results.rows)
    problems = list(results.rows["problem"].unique())
    sections = [
        _section(f"{i}-{j}", problem, results.rows, found) for j, problem in enumerate(problems)
    ]
    overall = None
    if len(problems) > 1:
        overall = _ranking(scores.curves(scores.in_all_problems(results.rows)), f"{i}-all")
    meta = results.meta
    return {
        "title": results.title,
        "id": f"e{i}",
        "sections": sections,
        "overall": overall,
        "failures": results.failures,
        "tasks": len(results.rows[["problem", "task"]].drop_duplicates()),
        "seeds": int(results.rows["seed"].nunique()),
        "methods": len(results.rows["method"].unique()),
        "commit": meta.get("commit"),
        "dirty": bool(meta.get("dirty")),
        "minutes": meta["seconds"] / 60 if "seconds" in meta else None,
        "software": meta.get("software", {}),
        "command": " ".join(meta.get("command", [])),
    }


def _section(name: str, problem: str, rows: pd.DataFrame, found: pd.DataFrame) -> dict[str, Any]:
    own = found.xs(problem, level="problem", drop_level=False)
    counts = scores.shown_counts(own)
    goal, needed = scores.evaluations_needed(own)
    tests = scores.paired(own, [n for n in counts if n > 1])
    return {
        "id": f"p{name}",
        "title": problem,
        "methods": list(own.index.get_level_values("method").unique()),
        "tasks": len(own.index.get_level_values("task").unique()),
        "runs": len(own.index.droplevel("method").unique()),
        "counts": counts,
        "chart": charts.curves_chart(own, f"curves-{name}"),
        "regret": [_column(scores.summary(scores.regrets(own, n))) for n in counts],
        "rank": [_column(scores.summary(scores.ranks(own, n))) for n in counts],
        "ranking": _ranking(own, name),
        "goal": goal,
        "needed": needed,
        "last": int(own.columns.max()),
        "seconds": scores.seconds(rows[rows["problem"] == problem]).to_dict("index"),
        "tests": tests.to_dict("records"),
        "test_counts": sorted(set(tests["n"])) if len(tests) else [],
    }


def _column(summary: pd.DataFrame) -> dict[str, Any]:
    """One column of a table; the best is the smallest mean, as far as three digits tell."""
    best = summary["mean"].min()
    smallest = summary["mean"].map(lambda mean: number(mean, 3)) == number(best, 3)
    return summary.assign(best=smallest).to_dict("index")


def _ranking(found: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """The diagrams after few and after many evaluations."""
    counts = scores.shown_counts(found)
    chosen = [n for n in (5, 25) if n in counts] or counts[-1:]
    rankings = {n: rank_methods(found, n) for n in chosen}
    return [
        {"n": n, "ranking": ranking, "chart": charts.ranking_chart(ranking, f"rank-{name}-{n}")}
        for n, ranking in rankings.items()
        if ranking is not None
    ]
