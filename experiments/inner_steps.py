"""How many inner steps? Error, seconds and memory of Reptile and of MAML against their number.

    python experiments/inner_steps.py [--smoke] [--seed 0] [--out DIR] [--jobs 2]

The related work's page says that several inner steps need derivatives of as high an order. MAML
differentiates through all steps, and its memory grows with them. Reptile's outer step is a sum of
plain gradients, whatever the number of steps: nothing is differentiated twice. All runs of Reptile
take as many gradients, 20,000 inner steps of 10 tasks; with one inner step it is joint training.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from parts.cross_validation import by_gradient, folds, rows
from parts.meta_gradient_cost import cost
from parts.starting_points import curves, train_start
from parts.study_pictures import steps

from metabo import LogisticFamily
from metabo.benchmark import plots
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.run import run_rows
from metabo.meta_training.reptile import ReptileSettings

OUT = Path(__file__).parent / "results" / "inner_steps"
TEST_SEED = 7_000_000  # of the curves that nothing was trained on
COMPARED = ("Reptile", "first-order MAML", "MAML")


@dataclass(frozen=True)
class Settings:
    """What is run; the rest is as in `reptile_experiment.py`."""

    inner_steps: tuple[int, ...] = (1, 2, 5, 10, 20, 50)  # in meta-training
    evaluation_iterations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    gradients: int = 20_000  # outer iterations times inner steps
    support: int = 5
    test_curves: int = 50
    training_curves: int = 1000
    seeds: int = 2
    timed_tasks: int = 64
    repeats: int = 5


SMOKE = Settings((1, 3), (1, 4), 6, 5, 2, 20, 1, 4, 1)


def errors(inner_steps: int, settings: Settings, seed: int) -> list[dict[str, Any]]:
    """Reptile, trained with so many inner steps and tested with all numbers of steps."""
    family, found = LogisticFamily(), []
    training = curves(family, settings.training_curves, 100, seed=seed)
    test = curves(family, settings.test_curves, 100, seed=seed + TEST_SEED, like=training)
    cut = folds(100, 10, settings.test_curves, seed)
    loop = ReptileSettings(settings.gradients // inner_steps, 10, inner_steps, 5, 0.02, 0.1)
    start = train_start("Reptile", training.batch, loop, width=32, seed=seed)
    for number in settings.evaluation_iterations:
        predict, extra = by_gradient(start.network, number, 0.02), {"evaluation_iterations": number}
        scores = rows("logistic", "Reptile", settings.support, test, cut, predict)
        found += [r | extra | {"inner_steps": inner_steps, "seed": seed} for r in scores]
    return found


def costs(settings: Settings) -> pd.DataFrame:
    """Every method with every number of inner steps, each alone in a process of its own."""
    found = []
    for name in COMPARED:
        for number in settings.inner_steps:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                job = pool.submit(cost, name, number, settings.timed_tasks, settings.repeats)
                found.append(job.result())
    return pd.DataFrame(found)


def main(smoke: bool = False, seed: int = 0, out: Path = OUT, jobs: int = 2) -> None:
    """Run the experiment, print its tables, and write rows.csv, costs.csv, meta.json, a figure."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    cells = [
        partial(errors, number, settings, own_seed)
        for number in settings.inner_steps
        for own_seed in range(seed, seed + settings.seeds)
    ]
    frame: pd.DataFrame = run_rows(cells, label="inner steps", jobs=jobs)
    measured = costs(settings)
    write_rows(frame, out)
    write_rows(measured, out, "costs")
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    plots.save(steps(frame, measured), out / "inner_steps.png")
    means = frame.groupby(["inner_steps", "evaluation_iterations"])["squared_error"].mean()
    print(means.unstack().round(3).to_string(), measured.round(4).to_string(), sep="\n")


if __name__ == "__main__":
    typer.run(main)
