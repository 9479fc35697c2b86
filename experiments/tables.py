"""Put the numbers of committed results into the documents, so that none is typed by hand.

A document says `<!-- results: NAME -->` where a table is wanted, `<!-- minutes: NAME -->` where
the minutes of a run are, and `<!-- end -->` after either.

    python experiments/tables.py [--check]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from parts.contest_tables import contest, mean_ranks, point_effects
from parts.study_tables import inner_steps, reptile_experiment, task_similarity

from metabo.benchmark.methods import OWN_METHODS
from metabo.benchmark.report import markdown, summarise

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "experiments" / "README.md",
    ROOT / "docs" / "when-it-helps.md",
)
NOT_RUN = "*(no results are committed yet)*"
_MINUTES = re.compile(r"(<!-- minutes: (\S+) -->).*?(<!-- end -->)")
_SECTION = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def demo_few_shot(results: Path) -> str:
    """Mean squared errors of the demo."""
    rows = pd.read_csv(results / "demo" / "few_shot.csv")
    return markdown(summarise(rows, "squared_error", (1, 2, 3, 5, 8, 10)))


def demo_regret(results: Path) -> str:
    """Regrets of the demo."""
    rows = pd.read_csv(results / "demo" / "regret.csv")
    return markdown(summarise(rows, "regret", (1, 2, 3, 5, 10, 15)))


def reptile_speed(results: Path) -> str:
    """Ratios of speeds, and memory."""
    ratios = pd.read_csv(results / "reptile_speed" / "ratios.csv")
    lines = ["| what | asked | measured | range of repeats | met |", "|---|---|---:|---:|---|"]
    for row in ratios.itertuples():
        lines.append(
            f"| {row.what} | {row.asked} | {row.measured:.3g} | {row.lowest:.3g} to "
            f"{row.highest:.3g} | {'yes' if row.met else 'no'} |"
        )
    return "\n".join(lines)


def reptile_speed_cuda(results: Path) -> str:
    """Medians of speeds on a GPU, in millions."""
    rows = pd.read_csv(results / "reptile_speed_cuda" / "rows.csv")
    medians = rows.pivot_table(
        values="steps_per_second",
        index="implementation",
        columns=["width", "num_tasks"],
        aggfunc="median",
        sort=False,
    )
    heads = [f"{num_tasks}, width {width}" for width, num_tasks in medians.columns]
    lines = [f"| T = | {' | '.join(heads)} |", "|---" + "|---:" * len(heads) + "|"]
    for name, row in medians.iterrows():
        cells = ["" if pd.isna(value) else f"{value / 1e6:.2g}" for value in row]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def time_to_quality(results: Path) -> str:
    """Errors as multiples of that of exact Bayes, and seconds, by what training was given."""
    rows = pd.read_csv(results / "time_to_quality" / "rows.csv")
    means = rows.groupby(["method", "share", "n"], sort=False).mean(numeric_only=True)
    lines = [
        "| features trained by | share of the steps | times the error of exact Bayes | seconds | "
        "of a core |",
        "|---|---:|---:|---:|---:|",
    ]
    for (method, share, _), row in means.iterrows():
        cells = f"{row['ratio']:.3g} | {row['wall_seconds']:.3g} | {row['seconds']:.3g}"
        lines.append(f"| {method} | {share:g} | {cells} |")
    return "\n".join(lines)


def few_shot(name: str, results: Path, *more: str) -> str:
    """Scores of predictions, a table each."""
    rows = pd.read_csv(results / name / "rows.csv")
    tables = []
    for measure in ("squared_error", "negative_log_density", "coverage", *more):
        title = measure.replace("_", " ").capitalize()
        tables.append(f"{title}:\n\n{markdown(summarise(rows, measure))}")
    return "\n\n".join(tables)


def shape_parameters(results: Path) -> str:
    """Errors of estimated parameters, and how their intervals and the fits did."""
    rows = pd.read_csv(results / "shape_parameters" / "rows.csv")
    rows = rows.assign(problem=rows.pop("parameter")).astype({"failed": float})
    once = rows[rows["problem"] == rows["problem"].iloc[0]].assign(problem="all")
    tables = {
        "Absolute error, as a share of the parameter's range": (rows, "error"),
        "Share of 90% intervals that cover the parameter": (rows, "covered"),
        "Share of fits that failed": (once, "failed"),
    }
    return "\n\n".join(
        f"{title}:\n\n{markdown(summarise(own.dropna(subset=[column]), column))}"
        for title, (own, column) in tables.items()
    ).replace("| problem |", "| parameter |")


def wrong_prior(results: Path) -> str:
    """Regrets on tasks that are not of the prior's family."""
    rows = pd.read_csv(results / "wrong_prior" / "rows.csv")
    return markdown(summarise(rows, "regret", (3, 5, 10, 20, 30)))


TABLES: dict[str, Callable[[Path], str]] = {
    "demo_few_shot": demo_few_shot,
    "demo_regret": demo_regret,
    "bo_hpobench": partial(contest, "bo_hpobench"),
    "hpobench_ranks": partial(mean_ranks, "bo_hpobench_2000"),
    "bo_hpobench_2000": partial(contest, "bo_hpobench_2000"),
    "bo_hpolib_2000": partial(contest, "bo_hpolib_2000"),
    "bo_nasbench201": partial(contest, "bo_nasbench201"),
    "bo_svm_digits": partial(contest, "bo_svm_digits"),
    "bo_logistic": partial(contest, "bo_logistic"),
    "bo_surfaces": partial(contest, "bo_surfaces"),
    **{
        f"{name}_from_runs": partial(mean_ranks, name, without=(*OWN_METHODS, "exact Bayes"))
        for name in ("bo_logistic", "bo_surfaces")
    },
    "reptile_speed": reptile_speed,
    "reptile_speed_cuda": reptile_speed_cuda,
    "time_to_quality": time_to_quality,
    "fewshot_logistic": partial(few_shot, "fewshot_logistic"),
    "fewshot_normal": partial(few_shot, "fewshot_normal"),
    "few_tasks": partial(few_shot, "few_tasks"),
    "point_effects": point_effects,
    "shape_parameters": shape_parameters,
    "wrong_prior": wrong_prior,
    "reptile_experiment_logistic": partial(reptile_experiment, "logistic"),
    "reptile_experiment_normal": partial(reptile_experiment, "normal"),
    "task_similarity": task_similarity,
    "inner_steps": inner_steps,
    "bayes_by_backprop": lambda results: few_shot(
        "bayes_by_backprop", results, "coverage_50", "crps"
    ),
}


def minutes(name: str, results: Path) -> str:
    """How long a run took."""
    meta = json.loads((results / name / "meta.json").read_text())
    return f"{meta['seconds'] / 60:.2g}"


def updated(document: str, results: Path) -> str:
    """A document with its tables and minutes as the results have them."""

    def took(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        return f"{start}{minutes(name, results)}{end}"

    def section(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        try:
            body = TABLES[name](results)
        except FileNotFoundError:
            body = NOT_RUN
        return f"{start}\n{body}\n\n{end}"

    return _SECTION.sub(section, _MINUTES.sub(took, document))


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
        if new != old:
            path.write_text(new)


if __name__ == "__main__":
    typer.run(main)
