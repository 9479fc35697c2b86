"""How few earlier tasks are enough? Priors from 4 to 1,024 logistic curves of 20 points each.

python experiments/few_tasks.py [--smoke] [--seed 0] [--out DIR]
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
import typer
from rich.console import Console

from metabo import LogisticFamily
from metabo.benchmark.cases import logistic_case
from metabo.benchmark.demo import DemoSettings
from metabo.benchmark.few_shot import few_shot
from metabo.benchmark.methods import Exact, Metabo, Predictor, VanillaGP
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.report import summarise, table
from metabo.benchmark.run import run, run_rows
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.meta_training.shifts import MOST_TASKS

OUT = Path(__file__).parent / "results" / "few_tasks"


@dataclass(frozen=True)
class Settings:
    """What is run."""

    num_tasks: tuple[int, ...] = (4, 8, 16, 32, 128, 1024)  # to meta-train on
    points: int = 20  # of each
    episodes: int = 100  # unseen curves to predict
    counts: tuple[int, ...] = (1, 2, 3, 5, 8, 10)
    seeds: int = 2  # of the tasks to train on
    jobs: int = 2
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)


SMOKE = Settings((4,), 10, 2, (1, 3), 1, 1, DemoSettings.smoke().meta_train)


def main(smoke: bool = False, seed: int = 0, out: Path = OUT) -> None:
    """Run the experiment, print its scores, and write rows.csv and meta.json."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    family, grid = LogisticFamily(), []
    for own_seed in range(seed, seed + settings.seeds):
        for count in settings.num_tasks:
            few = replace(settings.meta_train, num_tasks=count, points_per_task=settings.points)
            shown = {"metabo": few}
            if count < MOST_TASKS:
                shown["no shifts"] = replace(few, shift_sd=0.0)
            for name, own in shown.items():
                grid.append((f"{name}, N = {count}", partial(
                    meta_train, family, seed=own_seed, settings=own, device="cpu", progress=False
                ), own_seed))  # fmt: skip
    priors = run([train for _, train, _ in grid], label="meta-training", jobs=settings.jobs)
    methods: list[tuple[Predictor, int]] = [(VanillaGP(), seed), (Exact(family), seed)]
    methods += [(Metabo(p, name), s) for p, (name, _, s) in zip(priors, grid, strict=True)]
    episodes = logistic_case(settings.episodes, 0, seed=seed).episodes
    cells = [
        partial(few_shot, "logistic", method, episode, settings.counts, seed=own_seed)
        for method, own_seed in methods
        for episode in episodes
    ]
    rows: pd.DataFrame = run_rows(cells, label="predicting", jobs=settings.jobs)
    write_rows(rows, out)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    for measure in ("squared_error", "negative_log_density", "coverage"):
        Console().print(table(summarise(rows, measure), measure))


if __name__ == "__main__":
    typer.run(main)
