"""Bayes by Backprop, meta-trained with Reptile: is it as calibrated as the mixture?

    python experiments/bayes_by_backprop.py [--smoke] [--seed 0] [--out DIR] [--jobs 2]

Reptile runs the same loop on a network of Gaussian weights with the loss of Blundell et al.
(arXiv:1505.05424). The noise that the loss assumes, which also weighs the divergence, and the first
deviation of the weights are chosen on tasks like the training tasks. Predictions have that noise
("own noise"), or for each number of observations the noise that fits such tasks best.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from metabo import LogisticFamily, MetaTrainSettings, meta_train
from metabo.benchmark.adapted_network import AdaptedNetwork
from metabo.benchmark.bayes_by_backprop import BayesByBackprop
from metabo.benchmark.few_shot import few_shot, grid_episode
from metabo.benchmark.methods import Exact, Metabo, Predictor
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.run import run, run_rows
from metabo.meta_training.reptile import ReptileSettings

OUT = Path(__file__).parent / "results" / "bayes_by_backprop"
TEST_SEED = 8_000_000  # of the curves that nothing was trained on
MEASURES = ["squared_error", "negative_log_density", "crps", "coverage", "coverage_50"]
FAMILY = LogisticFamily()


@dataclass(frozen=True)
class Settings:
    """What is run."""

    noise_sds: tuple[float, ...] = (0.03, 0.1)  # that the loss may assume, in model units
    initial_sds: tuple[float, ...] = (0.03, 0.1)  # of the weights
    tasks: int = 100
    counts: tuple[int, ...] = (1, 2, 3, 5, 8, 10)
    training_tasks: int = 3000
    loop: ReptileSettings = field(default_factory=lambda: ReptileSettings(400, 16, 20, 10))
    point_steps: int = 1000  # of Reptile for the network without random weights
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)


SMOKE = Settings(
    (0.1,),
    (0.03,),
    2,
    (1, 3),
    50,
    ReptileSettings(2, 4, 3, 5),
    2,
    MetaTrainSettings.smoke(),
)


def methods(settings: Settings, seed: int, jobs: int) -> tuple[list[Predictor], pd.DataFrame]:
    """All that are compared, and how each choice scored on tasks like the training tasks."""
    choices = list(product(settings.noise_sds, settings.initial_sds))
    rivals = [
        partial(BayesByBackprop.meta_train, FAMILY, seed=seed, noise_sd=noise, initial_sd=sd,
                num_tasks=settings.training_tasks, settings=settings.loop)
        for noise, sd in choices
    ]  # fmt: skip
    point = partial(AdaptedNetwork.meta_train, FAMILY, seed=seed, outer_steps=settings.point_steps)
    ours = partial(
        meta_train, FAMILY, seed=seed, settings=settings.meta_train, device="cpu", progress=False
    )
    trainings: list[Callable[[], Any]] = [ours, *rivals, point]
    prior, *trained, network = run(trainings, label="meta-training", jobs=jobs)
    scores = [rival.score(settings.counts) for rival in trained]
    best = trained[scores.index(min(scores))]
    own = replace(best, own_noise=True, name="Bayes by Backprop, own noise")
    chosen = pd.DataFrame(choices, columns=["noise_sd", "initial_sd"])
    compared = [own, best, network, Metabo(prior), Exact(FAMILY)]
    return compared, chosen.assign(negative_log_density=scores)


def main(smoke: bool = False, seed: int = 0, out: Path = OUT, jobs: int = 2) -> None:
    """Run the experiment, print its scores, and write rows.csv, chosen.csv and meta.json."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    compared, chosen = methods(settings, seed, jobs)
    tasks = FAMILY.tasks(settings.tasks, max(settings.counts), seed=seed + TEST_SEED)
    cells = [
        partial(few_shot, "logistic", method, episode, settings.counts, seed=seed)
        for method in compared
        for episode in (
            grid_episode(t, noise_sd=FAMILY.noise_sd, seed=seed + i) for i, t in enumerate(tasks)
        )
    ]
    rows: pd.DataFrame = run_rows(cells, label="predicting", jobs=jobs)
    write_rows(rows, out)
    write_rows(chosen, out, "chosen")
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    print(rows.groupby(["n", "method"], sort=False)[MEASURES].mean().round(3).to_string())


if __name__ == "__main__":
    typer.run(main)
