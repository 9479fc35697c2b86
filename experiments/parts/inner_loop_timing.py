"""How `reptile_speed.py` measures: in turns, in a fresh process, on so many cores."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from metabo.network import MLP
from parts.inner_loop_alternatives import IMPLEMENTATIONS, Run

_LONG = 4.0  # seconds of a call, beyond which two turns must do


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
        context.set_forkserver_preload(["__main__"])  # imports take longer than most calls
        with ProcessPoolExecutor(1, context, _tie, (self,)) as pool:
            return pool.submit(function, self, *arguments).result()


def _tie(problem: Problem) -> None:
    if problem.device == "cpu":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: problem.threads])
    torch.set_num_threads(problem.threads)


def speeds(problem: Problem, names: list[str], repeats: int, seconds: float) -> list[list[float]]:
    """Tasks x inner steps a second, of each implementation in each repeat of so many seconds."""
    runs = [problem.prepare(name) for name in names]
    first = [_seconds(problem, run, 1) for run in runs]  # this call compiles, in a few seconds
    once = [t if t > _LONG else _seconds(problem, r, 1) for t, r in zip(first, runs, strict=True)]
    calls = [max(1, round(seconds / t)) for t in once]
    if max(once) > _LONG:
        repeats = min(repeats, 2)
    turns = [
        [n / _seconds(problem, run, n) for run, n in zip(runs, calls, strict=True)]
        for _ in range(repeats)
    ]
    return [[50 * problem.num_tasks * rate for rate in rates] for rates in zip(*turns, strict=True)]


def _seconds(problem: Problem, run: Run, calls: int) -> float:
    cuda = problem.device == "cuda"
    clock = time.perf_counter if cuda or problem.threads > 1 else time.process_time
    wait = torch.cuda.synchronize if cuda else (lambda: None)
    wait()
    started = clock()
    for _ in range(calls):
        run()
    wait()
    return clock() - started


def peak_mib(problem: Problem, name: str) -> float:
    """The peak of one call beyond what the process held before."""
    if problem.device == "cuda" and name.startswith("jax"):
        return float("nan")  # its own allocator
    replace(problem, num_tasks=1).prepare(name)()  # what libraries load at their first call
    if problem.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        problem.prepare(name)()
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _high_water_mib()
    problem.prepare(name)()
    return _high_water_mib() - before


def _high_water_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
