"""How fast is Reptile's inner loop, beside other ways to run it?

    python experiments/reptile_speed.py [--smoke] [--device cuda] [--seed 0] [--out DIR]
        [--at-most N]

The alternatives take turns within one process, since the noise from run to run is large; on a CPU
it is tied to as many cores as it has threads. JAX and C++ are compared with where they are
installed. On one core the clock is that of the process, so that other work on the machine counts
little; on several, and on a GPU, it is the one on the wall. Memory is the peak of one call in a
fresh process, beyond what the process held before; on a GPU, of what PyTorch holds there.

Each problem's rows are written at once; a run goes on after the problems that `rows.csv` has.
`--at-most` ends a run after so many problems; each wants a machine that is otherwise idle.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import pandas as pd
import torch
import typer
from parts.inner_loop_alternatives import IMPLEMENTATIONS, ON_GPU
from parts.inner_loop_figure import draw
from parts.inner_loop_ratios import ratios
from parts.inner_loop_timing import Problem, peak_mib, speeds

from metabo.benchmark import plots
from metabo.benchmark.record import write_meta, write_rows

RESULTS = Path(__file__).parent / "results"

PROBLEM = ["num_tasks", "width", "threads", "device"]
COLUMNS = ["implementation", *PROBLEM, "repeat", "steps_per_second", "peak_mib"]
ON_ONE = "compiled_on_one_thread"  # where there are more
BESIDE = ("compiled", ON_ONE, "written_out", "jax_autograd", "jax_written_out")


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long."""

    num_tasks: tuple[int, ...] = (1, 10, 64, 512, 4096)
    widths: tuple[int, ...] = (32, 128)
    # Threads and, where not all are measured, the widths.
    threads: tuple[tuple[int, tuple[int, ...]], ...] = ((1, (32, 128)), (2, (32,)))
    repeats: int = 5
    seconds: float = 0.15  # of each repeat, about
    least_for_memory: int = 512  # tasks; with fewer, the peaks are a few MiB
    # The largest T x width; beyond, a single call would take up to a minute.
    largest: tuple[tuple[str, int], ...] = (
        ("one_at_a_time", 64 * 128),
        ("vmap_grad", 512 * 32),
        ("stacked_autograd", 4096 * 32),
        ("jax_autograd", 4096 * 32),
        ("jax_written_out", 4096 * 32),
    )


SMOKE = Settings((10,), (32,), ((1, (32,)),), repeats=2, seconds=0.02, least_for_memory=10)
ON_CUDA = Settings(
    threads=((1, (32, 128)),),
    least_for_memory=4096,
    largest=(("one_at_a_time", 10 * 128), ("vmap_grad", 512 * 128)),
)


def names_for(problem: Problem, settings: Settings) -> list[str]:
    """The implementations to compare."""
    size, largest = problem.num_tasks * problem.width, dict(settings.largest)
    names = [n for n in IMPLEMENTATIONS if size <= largest.get(n, size)]
    if problem.device == "cuda":
        return [n for n in names if not n.startswith(("cpp", "compiled", "written_out"))]
    names = [n for n in names if n not in ON_GPU]
    if problem.threads > 1:
        return [n for n in names if n in BESIDE]
    return [n for n in names if n != ON_ONE]


def rows_of(problem: Problem, settings: Settings) -> pd.DataFrame:
    """Measure one problem, and print its medians."""
    names = names_for(problem, settings)
    rates = problem.alone(speeds, names, settings.repeats, settings.seconds)
    rows = pd.DataFrame(dict(zip(names, rates, strict=True)))
    rows = rows.melt(var_name="implementation", value_name="steps_per_second", ignore_index=False)
    rows = rows.rename_axis("repeat").reset_index().assign(**asdict(problem))
    large = problem.num_tasks >= settings.least_for_memory and problem.threads == 1
    peaks = {n: problem.alone(peak_mib, n) if large else float("nan") for n in names}
    rows["peak_mib"] = rows["implementation"].map(peaks)
    medians = rows.groupby("implementation", sort=False)[["steps_per_second", "peak_mib"]].median()
    print(f"{problem}\n{medians.round()}\n", flush=True)
    return rows[COLUMNS]


def main(
    smoke: bool = False,
    device: str = "cpu",
    seed: int = 0,
    out: Path | None = None,
    at_most: int = 1000,
) -> None:
    """Measure every problem; write rows.csv, meta.json, a figure and, on a CPU, ratios.csv."""
    on_cuda = device == "cuda"
    out = out or RESULTS / ("reptile_speed_cuda" if on_cuda else "reptile_speed")
    settings, before = SMOKE if smoke else ON_CUDA if on_cuda else Settings(), 0.0
    rows, done = pd.DataFrame(columns=COLUMNS), set()
    if (out / "rows.csv").exists():
        rows = pd.read_csv(out / "rows.csv")
        done = set(rows[PROBLEM].itertuples(index=False, name=None))
        before = json.loads((out / "meta.json").read_text())["seconds"]
    used = asdict(settings) | {"seed": seed, "torch_threads": "as the column threads"}
    if "jax_autograd" in IMPLEMENTATIONS:
        used["jax"] = version("jax")
    for (cores, widths), width, num_tasks in product(
        settings.threads, settings.widths, settings.num_tasks
    ):
        if width not in widths or (num_tasks, width, cores, device) in done:
            continue
        if at_most == 0:
            break
        if on_cuda:
            used["gpu"] = torch.cuda.get_device_name()
        started, at_most = time.perf_counter(), at_most - 1
        own = rows_of(Problem(num_tasks, width, device, cores, seed), settings)
        rows = own if rows.empty else pd.concat([rows, own])
        before += time.perf_counter() - started
        write_rows(rows, out)
        write_meta(out / "meta.json", settings=used, seconds=before)
    if not on_cuda:
        found = ratios(rows)
        print(found.to_string(index=False))
        write_rows(found, out, "ratios")
    plots.save(draw(rows), out / "speed.svg")


if __name__ == "__main__":
    typer.run(main)
