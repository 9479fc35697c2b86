"""The related work's experiment: cross-validated few-shot error of a meta-trained network.

    python experiments/reptile_experiment.py [--task normal] [--smoke] [--seed 0] [--out DIR]

The settings and defaults are those of the related code, github.com/dualslash/reptile-torch. Reptile
is compared with other starts for the same steps of SGD, and with metabo's closed-form mixture.
`tensorboard --logdir runs/reptile_experiment` shows scalars and pictures.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from parts.cross_validation import Predict, by_gradient, by_mixture, folds, rows
from parts.related_loop import compare, ratio
from parts.reptile_pictures import draw, log
from parts.reptile_settings import SMALL, Settings
from parts.starting_points import ALGORITHMS, RANDOM, Curves, Start, curves, train_start

from metabo import Prior, meta_train
from metabo.benchmark import plots
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.run import run, run_rows

RESULTS = Path(__file__).parent / "results"
TEST_SEED = 5_000_000  # of the curves that nothing was trained on
DEFAULT = Settings()


def train(settings: Settings, seed: int, curve: Path) -> tuple[list[Start], Prior, Curves]:
    """All starts and metabo's prior, and the training curves whose units they are in."""
    family = settings.family()
    training = curves(family, settings.training_curves, settings.sample_count, seed=seed)
    start = partial(
        train_start, tasks=training.batch, width=settings.model_size, seed=seed, curve=curve
    )
    prior = partial(
        meta_train, family, seed=seed, settings=settings.meta_train, device="cpu", progress=False
    )
    loops = {name: settings.outer_loop(name) for name in ALGORITHMS}
    trainings = [partial(start, name, settings=loop) for name, loop in loops.items()]
    mixture, *starts = run([prior, *trainings], label="training", jobs=settings.jobs)
    return [*starts, start(RANDOM, settings=None)], mixture, training


def evaluate(
    starts: list[Start], prior: Prior, test: Curves, settings: Settings, seed: int
) -> pd.DataFrame:
    """The cross-validated error of every method for each number of support points."""
    steps, size = settings.evaluation_iterations, settings.inner_step_size
    methods: dict[str, Predict] = {s.name: by_gradient(s.network, steps, size) for s in starts}
    methods["metabo"] = by_mixture(prior, test)
    cut = folds(settings.sample_count, max(settings.counts), len(test.truth), seed)
    cells = [
        partial(rows, settings.task, name, n, test, cut, method)
        for name, method in methods.items()
        for n in settings.counts
    ]
    return run_rows(cells, label="evaluating", jobs=settings.jobs).assign(seed=seed)


def main(
    task: str = DEFAULT.task,
    inner_step_size: float = DEFAULT.inner_step_size,
    inner_batch_size: int = DEFAULT.inner_batch_size,
    outer_step_size: float = DEFAULT.outer_step_size,
    outer_iterations: int = DEFAULT.outer_iterations,
    meta_batch_size: int = DEFAULT.meta_batch_size,
    model_size: int = DEFAULT.model_size,
    evaluation_iterations: int = DEFAULT.evaluation_iterations,
    evaluation_batch_size: int = DEFAULT.evaluation_batch_size,
    evaluation_range: tuple[int, int] = DEFAULT.evaluation_range,
    sample_radius: float = DEFAULT.sample_radius,
    sample_count: int = DEFAULT.sample_count,
    smoke: bool = False,
    seed: int = 0,
    out: Path | None = None,
    board: Path = Path("runs/reptile_experiment"),
) -> None:
    """Run the experiment, print its errors, and write tables, figures and TensorBoard's events."""
    given: dict[str, Any] = {k: v for k, v in locals().items() if hasattr(DEFAULT, k)}
    settings = replace(DEFAULT, **given | (SMALL if smoke else {}))
    out = out or RESULTS / f"reptile_experiment_{task}"
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        starts, prior, training = train(settings, seed, Path(folder))
        losses = {p.stem: pd.read_csv(p) for p in sorted(Path(folder).glob("*.csv"))}
    num_test = settings.evaluation_batch_size * settings.evaluation_batches
    test = curves(settings.family(), num_test, sample_count, seed=seed + TEST_SEED, like=training)
    errors = evaluate(starts, prior, test, settings, seed)
    timing = pd.DataFrame(
        compare(
            starts[-1].network,
            training.batch,
            settings.outer_loop("Reptile"),
            seed=seed,
            repeats=settings.timing_repeats,
        )
    )
    costs = pd.DataFrame([s.cost() for s in starts])
    for name, frame in {"rows": errors, "timing": timing, "training": costs}.items():
        write_rows(frame, out, name)
    figures = draw(starts, prior, test, losses, errors, settings)
    for name, figure in figures.items():
        plots.save(figure, out / f"{name}.png")
    log(board / task, losses, errors, figures)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    means = errors.groupby(["method", "n"], sort=False)["squared_error"].mean().unstack()
    print(f"{task}: cross-validated squared error\n{means.round(3).to_string()}")
    print(f"{ratio(timing, outer_iterations)}\n{seconds:.0f} s in all.")


if __name__ == "__main__":
    typer.run(main)
