"""The report: one page of HTML with everything in it, which opens without a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from metabo.atomic import replacing
from metabo.benchmark import charts, scores
from metabo.benchmark.ranking import Ranking, rank_methods

_COLUMNS = {"problem", "task", "seed", "method", "n", "regret", "seconds"}


@dataclass(frozen=True, eq=False)
class Results:
    """What an experiment left.

    Attributes:
        title: What it is called.
        rows: From `optimise`.
        failures: Cells that failed, with `error` and `traceback`.
        meta: Where the rows come from.
    """

    title: str
    rows: pd.DataFrame
    failures: Sequence[dict[str, Any]]
    meta: dict[str, Any]


def read_results(path: Path) -> Results:
    """Read an experiment's folder, or a file of rows with what lies beside it.

    Raises:
        OSError: If there are no rows there.
        ValueError: If a column is missing, or there is no row.
    """
    if path.is_dir():
        packed = path / "rows.csv.gz"
        path = packed if packed.exists() else path / "rows.csv"
    rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    if missing := sorted(_COLUMNS - set(rows.columns)):
        raise ValueError(f"{path} has no column {', '.join(missing)}: it is no benchmark's rows")
    if rows.empty:
        raise ValueError(f"{path} has no rows")
    rows = rows.astype({"task": str, "method": str, "problem": str})
    meta = _beside(path, "meta.json", {})
    title = str(meta.get("settings", {}).get("title") or path.resolve().parent.name)
    return Results(title, rows, _beside(path, "failures.json", []), meta)


def _beside(path: Path, name: str, default: Any) -> Any:
    other = path.with_name(name)
    return json.loads(other.read_text()) if other.exists() else default


def write_page(experiments: Sequence[Results], path: Path, *, title: str) -> None:
    """Write the report.

    Args:
        experiments: A chapter each.
        path: The page.
        title: Of the page.

    Raises:
        ImportError: If a package of the extra "bench" is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError('the page needs Jinja2: pip install "metabo[bench]"') from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "p": p_value}
    template = environment.from_string((files("metabo.benchmark") / "page.html").read_text())
    chapters = [_chapter(i, results) for i, results in enumerate(experiments)]
    with replacing(path) as temporary:
        temporary.write_text(template.render(title=title, chapters=chapters, at=scores.AT))


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it; a dash where there is none."""
    if value is None or value != value:
        return "-"
    return f"{value:.{digits}g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def p_value(value: float) -> str:
    """A p, not more exact than it deserves."""
    return "-" if value != value else "< 0.001" if value < 0.001 else f"{value:.2g}"


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
        "chart": _safe(charts.curves_chart(own, f"curves-{name}")),
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
    smallest = summary["mean"].map(number) == number(best)
    return summary.assign(best=smallest).to_dict("index")


def _ranking(found: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """The diagrams after few and after many evaluations."""
    counts = scores.shown_counts(found)
    chosen = [n for n in (5, 25) if n in counts] or counts[-1:]
    rankings = {n: rank_methods(found, n) for n in chosen}
    return [
        {"n": n, "ranking": ranking, "chart": _safe(_diagram(ranking, f"rank-{name}-{n}"))}
        for n, ranking in rankings.items()
        if ranking is not None
    ]


def _diagram(ranking: Ranking, salt: str) -> str:
    return charts.ranking_chart(ranking, salt)


def _safe(svg: str) -> Any:
    """Matplotlib has escaped what was written into it."""
    from markupsafe import Markup

    return Markup(svg)
