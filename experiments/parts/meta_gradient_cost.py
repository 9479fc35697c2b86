"""What an outer step of a meta-learning algorithm costs, for `inner_steps.py`."""

from __future__ import annotations

import resource
import time
from typing import Any

import torch

from metabo.meta_training.learner import choose_learner
from metabo.network import MLP
from parts.starting_points import ALGORITHMS


def cost(name: str, inner_steps: int, num_tasks: int, repeats: int) -> dict[str, Any]:
    """Seconds of an outer step, and its peak memory: to be called in a fresh process."""
    torch.set_num_threads(1)
    network = MLP(1, (32, 32, 32), generator=torch.Generator().manual_seed(0))
    algorithm, learner = ALGORITHMS[name], choose_learner(network)
    weights = [w.detach() for w in network.layers]

    def step(steps: int, tasks: int) -> float:
        X = torch.linspace(-1.7, 1.7, 5)[:, None].expand(steps + algorithm.queries, tasks, -1, -1)
        started = time.perf_counter()
        algorithm.displacement(learner, weights, X, X.squeeze(-1), 0.02)
        return time.perf_counter() - started

    step(1, 1)  # what libraries load at their first call
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = min(step(inner_steps, num_tasks) for _ in range(repeats))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"method": name, "inner_steps": inner_steps, "seconds": seconds, "peak_mib": peak}
