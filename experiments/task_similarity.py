"""What is meta-training worth when tasks are less alike? Logistic curves of wider and wider ranges.

    python experiments/task_similarity.py [--smoke] [--seed 0] [--out DIR] [--jobs 2]

Khodak, Balcan and Talwalkar (Provable Guarantees for Gradient-Based Meta-Learning, 2019) bound the
error after adapting by the tasks' deviation: how far their best weights are on average from one
point. Width 1 is the family of the other experiments; width w has ranges w times as long about the
same middle. Deviations are reported both of the functions and of the adapted weights.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import typer
from parts.cross_validation import by_gradient, folds, rows
from parts.starting_points import RANDOM, Curves, Start, curves, train_start
from parts.study_pictures import similarity

from metabo import FunctionFamily, LogisticFamily
from metabo.benchmark import plots
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.run import run_rows
from metabo.meta_training.inner_loop import adapt
from metabo.meta_training.reptile import ReptileSettings
from metabo.tasks.parametric import logistic

OUT = Path(__file__).parent / "results" / "task_similarity"
TEST_SEED = 6_000_000  # of the curves that nothing was trained on
METHODS = ("Reptile", "joint pre-training", RANDOM)


@dataclass(frozen=True)
class Settings:
    """What is run; the rest is as in `reptile_experiment.py`."""

    widths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    counts: tuple[int, ...] = (1, 3, 5, 10)
    outer_iterations: int = 2000
    training_curves: int = 1000
    test_curves: int = 50
    evaluation_iterations: int = 32
    seeds: int = 3

    def loop(self) -> ReptileSettings:
        """How starts are trained."""
        return ReptileSettings(self.outer_iterations, 10, 20, 5, 0.02, 0.1)


SMOKE = Settings((0.1, 1.0), (1, 5), 3, 20, 2, seeds=1)


def family(width: float) -> FunctionFamily:
    """Logistic curves from ranges of that width about the middle of the usual ones."""
    usual, ends = LogisticFamily(), {}
    for name, (low, high) in usual.parameters.items():
        middle, half = (low + high) / 2, width * (high - low) / 2
        ends[name] = (middle - half, middle + half)
    return FunctionFamily(logistic, ends, usual.space, usual.noise_sd)


def deviation_of_weights(start: Start, test: Curves, settings: Settings) -> float:
    """The root mean squared distance of the weights, adapted to whole curves, from their mean."""
    X = test.batch.X.float().expand(settings.evaluation_iterations, *test.batch.X.shape)
    Y = test.batch.Y.float().expand(settings.evaluation_iterations, *test.batch.Y.shape)
    layers = adapt(start.network, X, Y, settings.loop().inner_step_size).layers
    weights = torch.cat([layer.flatten(1) for layer in layers], 1)
    return float((weights - weights.mean(0)).square().sum(1).mean().sqrt())


def cell(width: float, settings: Settings, seed: int) -> list[dict[str, Any]]:
    """All methods on the curves of one width, with one seed."""
    units = curves(LogisticFamily(), settings.training_curves, 100, seed=seed)  # for all widths
    training = curves(family(width), settings.training_curves, 100, seed=seed, like=units)
    test = curves(family(width), settings.test_curves, 100, seed=seed + TEST_SEED, like=units)
    cut, found = folds(100, max(settings.counts), settings.test_curves, seed), []
    spread = test.scale * float((test.truth - test.truth.mean(0)).square().mean().sqrt())
    for name in METHODS:
        loop = None if name == RANDOM else settings.loop()
        start = train_start(name, training.batch, loop, width=32, seed=seed)
        predict = by_gradient(start.network, settings.evaluation_iterations, 0.02)
        extra = {
            "seed": seed,
            "width": width,
            "deviation_of_functions": spread,
            "deviation_of_weights": deviation_of_weights(start, test, settings),
        }
        for n in settings.counts:
            found += [row | extra for row in rows(f"width {width:g}", name, n, test, cut, predict)]
    return found


def main(smoke: bool = False, seed: int = 0, out: Path = OUT, jobs: int = 2) -> None:
    """Run the experiment, print its errors, and write rows.csv, meta.json and a figure."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    cells = [
        partial(cell, width, settings, own_seed)
        for width in settings.widths
        for own_seed in range(seed, seed + settings.seeds)
    ]
    frame: pd.DataFrame = run_rows(cells, label="widths", jobs=jobs)
    write_rows(frame, out)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    plots.save(similarity(frame, 5), out / "error.png")
    means = frame.groupby(["width", "method", "n"], sort=False)["squared_error"].mean()
    print(means.unstack().round(4).to_string())


if __name__ == "__main__":
    typer.run(main)
