"""How fast is Reptile's inner loop, beside other ways to run it?

    python experiments/reptile_speed.py [--smoke] [--seed 0] [--out DIR]

The alternatives take turns within one process, since the noise from run to run is large; it is tied
to as many cores as it has threads. JAX is compared with where it is installed. Memory is the peak
of one call in a fresh process, beyond what the process held before.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from inner_loop_alternatives import IMPLEMENTATIONS, Run

from metabo.network import MLP


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long."""

    num_tasks: tuple[int, ...] = (1, 10, 64, 512, 4096)
    widths: tuple[int, ...] = (32, 128)
    places: tuple[tuple[str, int], ...] = (("cpu", 1), ("cpu", 2), ("cuda", 1))  # with threads
    repeats: int = 7
    seconds: float = 0.5  # of each repeat, about
    # Not measured for larger T, where they would take minutes and no longer change.
    most_tasks: tuple[tuple[str, int], ...] = (("one_at_a_time", 64), ("vmap_grad", 512))


SMOKE = Settings((10,), (32,), (("cpu", 1),), repeats=2, seconds=0.02)


@dataclass(frozen=True)
class Problem:
    """So many tasks for a 1-w-w-w-1 tanh network: 50 steps of 10 points each."""

    num_tasks: int
    width: int
    device: str
    threads: int
    seed: int

    def prepare(self, implementation: str) -> Run:
        """What is timed."""
        generator = torch.Generator().manual_seed(self.seed)
        network = MLP(1, (self.width,) * 3, generator=generator).to(self.device)
        X = torch.randn(50, self.num_tasks, 10, 1, generator=generator).to(self.device)
        return IMPLEMENTATIONS[implementation](network, X, torch.sin(3 * X[..., 0]))

    def alone(self, function: Any, *arguments: Any) -> Any:
        """What a function returns in a fresh process that has only so many cores."""
        context = get_context("forkserver")
        context.set_forkserver_preload(["torch"])  # its import takes longer than most calls
        with ProcessPoolExecutor(1, context, _tie, (self.threads,)) as pool:
            return pool.submit(function, self, *arguments).result()


def _tie(threads: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


def speeds(problem: Problem, names: list[str], settings: Settings) -> list[list[float]]:
    """Tasks x inner steps a second, of each implementation in each repeat."""
    runs = [problem.prepare(name) for name in names]
    once = [min(_seconds(problem, run, 1) for _ in range(2)) for run in runs]  # the first compiles
    calls = [max(1, round(settings.seconds / seconds)) for seconds in once]
    turns = [
        [n / _seconds(problem, run, n) for run, n in zip(runs, calls, strict=True)]
        for _ in range(settings.repeats)
    ]
    return [[50 * problem.num_tasks * rate for rate in rates] for rates in zip(*turns, strict=True)]


def _seconds(problem: Problem, run: Run, calls: int) -> float:
    wait = torch.cuda.synchronize if problem.device == "cuda" else (lambda: None)
    wait()
    started = time.perf_counter()
    for _ in range(calls):
        run()
    wait()
    return time.perf_counter() - started


def peak_mib(problem: Problem, name: str) -> float:
    """The peak of one call beyond what the process held before."""
    replace(problem, num_tasks=1).prepare(name)()  # what libraries load at their first call
    if problem.device == "cuda":
        problem.prepare(name)()
        return torch.cuda.max_memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _high_water_mib()
    problem.prepare(name)()
    return _high_water_mib() - before


def _high_water_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def rows_of(problem: Problem, settings: Settings) -> list[dict[str, Any]]:
    """Measure one problem, and print its medians."""
    most = dict(settings.most_tasks)
    names = [n for n in IMPLEMENTATIONS if problem.num_tasks <= most.get(n, problem.num_tasks)]
    if problem.device == "cuda":
        names = [n for n in names if not n.startswith("jax")]  # installed for the CPU, as a rule
    rows = []
    for name, rates in zip(names, problem.alone(speeds, names, settings), strict=True):
        memory = problem.alone(peak_mib, name)
        print(
            f"{problem}: {name} {statistics.median(rates):,.0f} / s, {memory:.0f} MiB", flush=True
        )
        same = {"implementation": name, **asdict(problem), "peak_mib": round(memory, 1)}
        rows += [same | {"repeat": i, "steps_per_second": round(r)} for i, r in enumerate(rates)]
    return rows


def meta(settings: Settings, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What the rows were measured with."""

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], capture_output=True, text=True).stdout.strip()

    versions = {"python": platform.python_version()}
    for package in ("torch", "numpy", "jax"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--", "metabo", "experiments/*.py")),
        "versions": versions,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
        "settings": asdict(settings) | {"seed": arguments.seed, "smoke": arguments.smoke},
        "seconds": round(seconds, 1),
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Speed against T, a line an implementation, a panel a width and place."""
    import matplotlib.pyplot as plt

    panels = sorted({(row["device"], row["threads"], row["width"]) for row in rows})
    figure, all_axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 4), squeeze=False)
    for panel, axes in zip(panels, all_axes[0], strict=True):
        lines: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            if (row["device"], row["threads"], row["width"]) == panel:
                rates = lines[row["implementation"]][row["num_tasks"]]
                rates.append(row["steps_per_second"])
        for name, points in lines.items():
            medians = [statistics.median(rates) for rates in points.values()]
            axes.loglog(list(points), medians, "o-", label=name)
        axes.set(title="{}, {} threads, width {}".format(*panel), xlabel="tasks at once")
    all_axes[0][0].set_ylabel("tasks x inner steps a second")
    all_axes[0][0].legend()
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    """Measure every problem, and write rows.csv, meta.json and, with matplotlib, a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="seconds, to see that it runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/reptile_speed"))
    arguments = parser.parse_args()
    settings, rows, started = SMOKE if arguments.smoke else Settings(), [], time.time()
    for (device, threads), width, num_tasks in product(
        settings.places, settings.widths, settings.num_tasks
    ):
        if device == "cpu" or torch.cuda.is_available():
            rows += rows_of(Problem(num_tasks, width, device, threads, arguments.seed), settings)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "rows.csv").open("w", newline="") as file:
        columns = "implementation num_tasks width threads device repeat steps_per_second peak_mib"
        writer = csv.DictWriter(file, columns.split(), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    text = json.dumps(meta(settings, arguments, time.time() - started), indent=2)
    (arguments.out / "meta.json").write_text(text + "\n")
    if find_spec("matplotlib"):
        draw(rows, arguments.out / "speed.svg")


if __name__ == "__main__":
    main()
