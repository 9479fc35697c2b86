"""Put the numbers of committed results into the documents, so that none is typed by hand.

A document says `<!-- results: NAME -->` where a table is wanted, and `<!-- end -->` after it.

    python experiments/tables.py [--check]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from metabo.benchmark import scores
from metabo.benchmark.contest import FROM_RUNS
from metabo.benchmark.methods import OWN_METHODS
from metabo.benchmark.metrics import paired_difference
from metabo.benchmark.record import read_results
from metabo.benchmark.report import markdown, markdown_by_count, summarise

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "experiments" / "README.md",
    ROOT / "docs" / "when-it-helps.md",
)
NOT_RUN = "*(no results are committed yet)*"
NOT_OTHERS = (*OWN_METHODS, FROM_RUNS, "exact Bayes")
_SECTION = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def demo_few_shot(results: Path) -> str:
    """Mean squared errors of the demo."""
    rows = pd.read_csv(results / "demo" / "few_shot.csv")
    return markdown(summarise(rows, "squared_error"), (1, 2, 3, 5, 8, 10))


def demo_regret(results: Path) -> str:
    """Regrets of the demo."""
    rows = pd.read_csv(results / "demo" / "regret.csv")
    return markdown(summarise(rows, "regret"), (1, 2, 3, 5, 10, 15))


@cache
def contest_rows(folder: Path) -> pd.DataFrame:
    """The rows of all methods; several tables are made of them."""
    return read_results(folder).rows


def gain(found: pd.DataFrame, theirs: tuple[str, int], ours: tuple[str, int]) -> str:
    """What one method's regret after n evaluations is more than another's, over tasks.

    Args:
        found: From `scores.curves`.
        theirs: The method, and n.
        ours: Likewise.
    """
    (a, _), (b, _) = theirs, ours
    worse, better = (scores.over_tasks(scores.regrets(found, n)) for _, n in (theirs, ours))
    return f"{paired_difference(worse[a], better[b])}, over {len(worse)} tasks"


def contest(name: str, results: Path) -> str:
    """Regrets and mean ranks of all methods, the paired comparisons, and seconds."""
    rows = contest_rows(results / name)
    found = scores.curves(rows)
    counts = scores.shown_counts(found)
    lines = [
        markdown(summarise(rows, "regret"), counts),
        "\nMean ranks (1 is the best), and seconds of a suggestion:\n",
        mean_ranks(name, results),
        "",
    ]
    for ours, theirs in ((3, 8), (8, 25), (25, 25)):
        more = gain(found, ("vanilla GP", theirs), ("metabo", ours))
        lines.append(
            f"- Regret of the vanilla GP after {theirs} minus metabo's after {ours}: {more}."
        )
    for n in (n for n in (3, 5, 10, 25) if n in counts):
        best = strongest(rows, n)
        more = gain(found, (best, n), ("metabo", n))
        lines.append(
            f"- Of the others {best} has the smallest regret after {n}; minus metabo's: {more}."
        )
    return "\n".join(lines)


def strongest(rows: pd.DataFrame, n: int) -> str:
    """The method with the smallest mean regret after n, of those that are not ours nor a bound."""
    others = scores.in_all_problems(rows[~rows["method"].isin(NOT_OTHERS)])
    means = scores.over_tasks(scores.regrets(scores.curves(others), n)).mean()
    return str(means.idxmin())


def mean_ranks(name: str, results: Path, without: Sequence[str] = ()) -> str:
    """The mean ranks of all methods, the best at the end first, and seconds of a suggestion.

    Those that do not take part in every problem are left out.
    """
    rows = contest_rows(results / name)
    rows = scores.in_all_problems(rows[~rows["method"].isin(without)])
    found, seconds = scores.curves(rows), scores.seconds(rows)
    counts = scores.shown_counts(found)
    ranks = pd.DataFrame({n: scores.ranks(found, n).mean() for n in counts})
    lines = [
        "| method | " + " | ".join(f"n = {n}" for n in counts) + " | seconds: median | mean |",
        "|---|" + "---:|" * (len(counts) + 2),
    ]
    for method, own in ranks.sort_values(counts[-1]).iterrows():
        cells = " | ".join(f"{rank:.2f}" for rank in own)
        took = seconds.loc[method]
        lines.append(f"| {method} | {cells} | {took['median']:.2g} | {took['mean']:.2g} |")
    return "\n".join(lines)


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
    return markdown(summarise(rows, "regret"), (3, 5, 10, 20, 30))


def point_effects(results: Path) -> str:
    """Regrets with and without the effects of single points, and what they differ by."""
    rows = pd.read_csv(results / "point_effects" / "rows.csv")
    counts = (1, 2, 3, 5, 10, 25)
    found = scores.curves(rows)
    lines = [markdown(summarise(rows, "regret"), counts), ""]
    for n in counts:
        more = gain(found, ("metabo, without effects", n), ("metabo", n))
        lines.append(f"- Regret without the effects minus that with them, after {n}: {more}.")
    return "\n".join(lines)


def reptile_experiment(task: str, results: Path) -> str:
    """Cross-validated errors, paired comparisons with Reptile, and what training took."""
    folder = results / f"reptile_experiment_{task}"
    rows = pd.read_csv(folder / "rows.csv")
    errors = rows.set_index(["method", "n", "task"])["squared_error"].sort_index()
    found = [markdown_by_count(summarise(rows, "squared_error")), ""]
    found += ["| n | Reptile's error falls from n - 1 by | joint pre-training minus Reptile | "
              "random initialisation minus Reptile |", "|---:|---:|---:|---:|"]  # fmt: skip
    for n in rows["n"].unique():
        ours = errors["Reptile", n]
        before = paired_difference(errors["Reptile", n - 1], ours) if n > rows["n"].min() else ""
        others = [
            paired_difference(errors[name, n], ours)
            for name in ("joint pre-training", "random initialisation")
        ]
        found.append(f"| {n} | {before} | {others[0]} | {others[1]} |")
    training = pd.read_csv(folder / "training.csv")
    took = ", ".join(
        f"{row.method} {row.outer_iterations} ({row.seconds:.0f} s)"
        for row in training.itertuples()
        if row.outer_iterations > 0
    )
    timing = pd.read_csv(folder / "timing.csv").groupby("loop")["seconds_a_step"].median()
    meta = json.loads((folder / "meta.json").read_text())
    slow, fast = timing["one task at a time"], timing["metabo"]
    return "\n".join(found) + (
        f"\n\nOuter iterations, and their seconds with two trainings at a time: {took}. The whole "
        f"run took {meta['seconds']:.0f} s. One task at a time, "
        f"{meta['settings']['outer_iterations']} outer iterations of Reptile would take "
        f"{slow / fast:.0f} times as long as metabo's (slices by turns on one core: "
        f"{slow * 1e3:.0f} and {fast * 1e3:.1f} ms an outer iteration)."
    )


def task_similarity(results: Path) -> str:
    """Errors from five points, by how unlike the tasks are."""
    rows = pd.read_csv(results / "task_similarity" / "rows.csv")
    reptile = rows[rows["method"] == "Reptile"].groupby("problem", sort=False)
    spread = reptile[["deviation_of_functions", "deviation_of_weights"]].mean()
    means = summarise(rows[rows["n"] == 5], "squared_error").set_index(["problem", "method"])
    methods = rows["method"].unique()
    lines = [
        f"| ranges | deviation of curves | of Reptile's weights | {' | '.join(methods)} |",
        "|---|---:|---:|" + "---:|" * len(methods),
    ]
    for problem, (functions, weights) in spread.iterrows():
        own = [means.loc[(problem, m), ["mean", "low", "high"]] for m in methods]
        cells = " | ".join(f"{mean:.3g} ({low:.3g} to {high:.3g})" for mean, low, high in own)
        lines.append(f"| {problem} | {functions:.3g} | {weights:.3g} | {cells} |")
    return "\n".join(lines)


def inner_steps(results: Path) -> str:
    """Errors by steps in meta-training and in the test, and costs by steps."""
    rows = pd.read_csv(results / "inner_steps" / "rows.csv")
    rows = rows.assign(
        method="trained with " + rows["inner_steps"].astype(str),
        n=rows.pop("evaluation_iterations"),
    )
    errors = markdown(summarise(rows, "squared_error")).replace("n = ", "after ")
    costs = pd.read_csv(results / "inner_steps" / "costs.csv").assign(problem="logistic", task="")
    tables = [errors]
    costs["milliseconds"] = costs.pop("seconds") * 1e3
    for value, title in (
        ("milliseconds", "Milliseconds of an outer step"),
        ("peak_mib", "Peak memory of an outer step (MiB)"),
    ):
        table = markdown(summarise(costs.rename(columns={"inner_steps": "n"}), value))
        tables.append(f"{title}, 64 tasks, by inner steps:\n\n{table.replace('n = ', '')}")
    return "\n\n".join(tables)


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
        if new != old:
            path.write_text(new)


if __name__ == "__main__":
    typer.run(main)
