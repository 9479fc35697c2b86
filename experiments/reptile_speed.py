"""How fast is Reptile's inner loop, beside other ways to run it?

    python experiments/reptile_speed.py [--smoke] [--seed 0] [--out DIR]

The alternatives take turns within one process, since the noise from run to run is large; it is tied
to as many cores as it has threads. JAX and C++ are compared with where they are installed. Memory
is the peak of one call in a fresh process, beyond what the process held before.

Each problem's rows are written at once; a run goes on after the problems that `rows.csv` has.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import pandas as pd
import torch
import typer
from inner_loop_alternatives import IMPLEMENTATIONS
from inner_loop_timing import Problem, peak_mib, speeds
from matplotlib.figure import Figure

from metabo.benchmark import plots
from metabo.benchmark.record import write_meta, write_table

OUT = Path(__file__).parent / "results" / "reptile_speed"

PROBLEM = ["num_tasks", "width", "threads", "device"]
COLUMNS = ["implementation", *PROBLEM, "repeat", "steps_per_second", "peak_mib"]


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long."""

    num_tasks: tuple[int, ...] = (1, 10, 64, 512, 4096)
    widths: tuple[int, ...] = (32, 128)
    places: tuple[tuple[str, int], ...] = (("cpu", 1), ("cpu", 2), ("cuda", 1))  # with threads
    repeats: int = 5
    seconds: float = 0.25  # of each repeat, about
    # Not measured for larger T, where they would take minutes and no longer change.
    most_tasks: tuple[tuple[str, int], ...] = (("one_at_a_time", 64), ("vmap_grad", 512))


SMOKE = Settings((10,), (32,), (("cpu", 1),), repeats=2, seconds=0.02)


def rows_of(problem: Problem, settings: Settings) -> pd.DataFrame:
    """Measure one problem, and print its medians."""
    most = dict(settings.most_tasks)
    names = [n for n in IMPLEMENTATIONS if problem.num_tasks <= most.get(n, problem.num_tasks)]
    if problem.device == "cuda":
        names = [n for n in names if not n.startswith(("jax", "cpp"))]  # for the CPU
    rates = problem.alone(speeds, names, settings.repeats, settings.seconds)
    rows = pd.DataFrame(dict(zip(names, rates, strict=True)))
    rows = rows.melt(var_name="implementation", value_name="steps_per_second", ignore_index=False)
    rows = rows.rename_axis("repeat").reset_index().assign(**asdict(problem))
    rows["peak_mib"] = rows["implementation"].map({n: problem.alone(peak_mib, n) for n in names})
    medians = rows.groupby("implementation", sort=False)[["steps_per_second", "peak_mib"]].median()
    print(f"{problem}\n{medians.round().astype(int)}\n", flush=True)
    return rows


def draw(rows: pd.DataFrame) -> Figure:
    """Speed against T, a line an implementation, a panel a width and place."""
    panels = list(rows.groupby(["device", "threads", "width"]))
    figure = Figure(figsize=(4 * len(panels), 4), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, ((device, threads, width), panel) in zip(all_axes, panels, strict=True):
        for name, own in panel.groupby("implementation", sort=False):
            medians = own.groupby("num_tasks")["steps_per_second"].median()
            axes.loglog(medians.index, medians, "o-", label=name)
        axes.set(title=f"{device}, {threads} threads, width {width}", xlabel="tasks at once")
    all_axes[0].set_ylabel("tasks x inner steps a second")
    all_axes[0].legend(fontsize="small")
    return figure


def main(smoke: bool = False, seed: int = 0, out: Path = OUT) -> None:
    """Measure every problem, and write rows.csv, meta.json and a figure."""
    settings, started = SMOKE if smoke else Settings(), time.perf_counter()
    rows, done = pd.DataFrame(columns=COLUMNS), set()
    if (out / "rows.csv").exists():
        rows = pd.read_csv(out / "rows.csv")
        done = set(rows[PROBLEM].itertuples(index=False, name=None))
    for (device, threads), width, num_tasks in product(
        settings.places, settings.widths, settings.num_tasks
    ):
        skip = device == "cuda" and not torch.cuda.is_available()
        if skip or (num_tasks, width, threads, device) in done:
            continue
        own = rows_of(Problem(num_tasks, width, device, threads, seed), settings)[COLUMNS]
        rows = own if rows.empty else pd.concat([rows, own])
        write_table(rows, out / "rows.csv")
    used = asdict(settings) | {"seed": seed}
    if "jax_autograd" in IMPLEMENTATIONS:
        used["jax"] = version("jax")
    write_meta(out / "meta.json", settings=used, seconds=time.perf_counter() - started)
    plots.save(draw(rows), out / "speed.svg")


if __name__ == "__main__":
    typer.run(main)
