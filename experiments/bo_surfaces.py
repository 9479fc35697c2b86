"""Logistic surfaces of 2, 4 and 8 inputs: is a prior still worth it where there is more to learn?

The response minus the cost of all inputs is to be maximised, over 2,000 points. Directions, levels
and steepness differ from task to task.

    python experiments/bo_surfaces.py [--smoke | --quick] [--seed 0] [--out DIR]
"""

from functools import partial
from pathlib import Path

import torch
import typer

from metabo.benchmark.cases import Case, closed_form_case
from metabo.benchmark.contest import Setup
from metabo.benchmark.experiment import Size, experiment
from metabo.benchmark.functions import surface_family
from metabo.benchmark.problems import NetBenefit

DIMENSIONS = (2, 4, 8)
COST = 1.0  # of an input, all the way: half of this for a unit


def surface_case(dim: int, size: Size, seed: int) -> Case:
    """Surfaces of so many inputs."""
    low = torch.full((dim,), -1.0, dtype=torch.float64)
    return closed_form_case(
        f"surface, d = {dim}",
        surface_family(torch.stack([low, -low])),
        {"": NetBenefit(COST / 2, tuple(low.tolist()))},
        size.tasks or 20,
        evaluations=size.evaluations,
        seed=seed,
        num_candidates=size.candidates or 2000,
        exact=dim == 2,
    )


def setups(size: Size, seed: int, work: Path) -> list[Setup]:
    """All dimensions."""
    key = {"cost": COST, "tasks": size.tasks, "candidates": size.candidates}
    return [
        Setup({"surface": dim, **key}, partial(surface_case, dim, size, seed + i), seed + i)
        for i in range(size.seeds)
        for dim in DIMENSIONS
    ]


main = experiment(
    setups,
    Path(__file__).parent / "results" / "bo_surfaces",
    full=Size(seeds=2, tasks=20),
    quick=Size(evaluations=15, seeds=1, tasks=2, candidates=500),
    title="Logistic surfaces",
)

if __name__ == "__main__":
    typer.run(main)
