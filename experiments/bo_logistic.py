"""Logistic curves: how near does a prior come to exact Bayes, which knows the family?

New curves are optimised for the response itself (best at the upper bound, always), for the response
minus its cost, for a given response, and for where the curve is steepest.

    python experiments/bo_logistic.py [--smoke | --quick] [--seed 0] [--out DIR]
"""

from functools import partial
from pathlib import Path

import typer

from metabo.benchmark.cases import LOGISTIC, closed_form_case
from metabo.benchmark.contest import Setup
from metabo.benchmark.experiment import Size, experiment
from metabo.benchmark.functions import slope
from metabo.tasks import FunctionFamily, LogisticFamily


def setups(size: Size, seed: int, work: Path) -> list[Setup]:
    """The curves with three objectives, and their slopes."""
    curves = LogisticFamily()
    slopes = FunctionFamily(slope, curves.parameters, curves.space, noise_sd=0.05)
    found = []
    for i in range(seed, seed + size.seeds):
        for name, family, objectives in (
            ("logistic", curves, {"value": None, **LOGISTIC}),
            ("logistic", slopes, {"slope": None}),
        ):
            load = partial(
                closed_form_case,
                name,
                family,
                objectives,
                size.tasks or 40,
                evaluations=size.evaluations,
                seed=i,
                num_candidates=size.candidates or 200,
            )
            key = {"family": family.describe(), "jobs": list(objectives), "tasks": size.tasks}
            if size.candidates:
                key["candidates"] = size.candidates
            found.append(Setup(key, load, i))
    return found


main = experiment(
    setups,
    Path(__file__).parent / "results" / "bo_logistic",
    full=Size(evaluations=25, seeds=2, tasks=40),
    quick=Size(evaluations=10, seeds=1, tasks=3),
    title="Logistic curves",
)

if __name__ == "__main__":
    typer.run(main)
