"""Tables of `reptile_experiment.py`, `task_similarity.py` and `inner_steps.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from metabo.benchmark.metrics import paired_difference
from metabo.benchmark.report import markdown, markdown_by_count, summarise


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
