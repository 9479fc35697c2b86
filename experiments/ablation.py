"""Which part of the prior matters? Parts taken out one by one, on the family and on other curves.

python experiments/ablation.py [--smoke] [--seed 0] [--out DIR]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console

from metabo import LogisticFamily, NormalFamily, Prior
from metabo.benchmark import plots
from metabo.benchmark.demo import DemoSettings
from metabo.benchmark.few_shot import few_shot, grid_episode
from metabo.benchmark.methods import Exact, Metabo, Predictor, VanillaGP
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.report import summarise, table
from metabo.benchmark.run import run, run_rows
from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.meta_training.refine import RefineSettings

OUT = Path(__file__).parent / "results" / "ablation"
TEST_SEED = 4_000_000
FROZEN = RefineSettings(feature_step_size=0.0)


@dataclass(frozen=True)
class Settings:
    """What is run."""

    sizes: tuple[int, ...] = (1, 8, 32, 128)  # numbers of components
    tasks: int = 100
    counts: tuple[int, ...] = (1, 2, 3, 5, 8, 10)
    jobs: int = 2
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)


SMOKE = Settings((1,), 2, (1, 3), 1, DemoSettings.smoke().meta_train)


def trainings(settings: Settings) -> Iterator[tuple[str, MetaTrainSettings]]:
    """What differs in meta-training, by name."""
    whole = settings.meta_train
    for size in settings.sizes:
        yield f"K = {size}", replace(whole, heads=replace(whole.heads, num_components=(size,)))
    features = {
        "random features": FeatureSettings(reptile=None, refine=FROZEN),
        "Reptile's features": FeatureSettings(refine=FROZEN),
        "refined random features": FeatureSettings(reptile=None),
    }
    for name, own in features.items():
        yield name, replace(whole, features=replace(own, hidden=whole.features.hidden))


def without_parts(prior: Prior) -> dict[str, Prior]:
    """The whole prior, and what is left of it without a part."""
    mixture = prior.mixture
    family = ~mixture.is_broad
    small = torch.where(family, 1e-9, mixture.outputscales)
    noises = mixture.noises + mixture.outputscales - small
    return {
        "whole": prior,
        "no remainder": replace(prior, mixture=replace(mixture, outputscales=small, noises=noises)),
        "no broad components": prior.select(family),
    }


def draw(summary: pd.DataFrame) -> Figure:
    """Error and density against n, a line a variant, a row of panels a kind of task."""
    panels = list(summary.groupby(["problem", "measure"], sort=False))
    figure = Figure(figsize=(12, 9), layout="constrained")
    for axes, ((problem, measure), own) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for i, (method, line) in enumerate(own.groupby("method", sort=False)):
            style = {"color": f"C{i % 10}", "linestyle": "-" if i < 10 else "--", "marker": "o"}
            axes.plot(line["n"], line["mean"], label=str(method), **style)
        axes.set(title=str(problem), xlabel="observations", ylabel=str(measure).replace("_", " "))
        if measure == "squared_error":
            axes.set_yscale("log")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def main(smoke: bool = False, seed: int = 0, out: Path = OUT) -> None:
    """Run the experiment, print its scores, and write rows.csv, meta.json and a figure."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    family = LogisticFamily()
    variants = dict(trainings(settings)) | {"whole": settings.meta_train}
    train = partial(meta_train, family, seed=seed, device="cpu", progress=False)
    jobs = [partial(train, settings=own) for own in variants.values()]
    priors = dict(zip(variants, run(jobs, label="meta-training", jobs=settings.jobs), strict=True))
    priors |= without_parts(priors.pop("whole"))
    ours = [Metabo(prior, name) for name, prior in priors.items()]
    cells = []
    for problem, truth in {"logistic curves": family, "bells": NormalFamily()}.items():
        bound: list[Predictor] = [VanillaGP(), Exact(truth)]
        tasks = truth.tasks(settings.tasks, max(settings.counts), seed=seed + TEST_SEED)
        episodes = [grid_episode(t, noise_sd=0.05, seed=seed + i) for i, t in enumerate(tasks)]
        cells += [
            partial(few_shot, problem, method, episode, settings.counts, seed=seed)
            for method in [*bound, *ours]
            for episode in episodes
        ]
    rows: pd.DataFrame = run_rows(cells, label="predicting", jobs=settings.jobs)
    write_rows(rows, out)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    measures = ("squared_error", "negative_log_density")
    summaries = [summarise(rows, measure) for measure in measures]
    for problem, measure, summary in (
        (p, m, s[s["problem"] == p])
        for m, s in zip(measures, summaries, strict=True)
        for p in rows["problem"].unique()
    ):
        Console().print(table(summary, f"{measure}, {problem}"))
    plots.save(draw(pd.concat(summaries)), out / "ablation.svg")


if __name__ == "__main__":
    typer.run(main)
