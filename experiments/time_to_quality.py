"""How long must one meta-train until predictions are as good as exact Bayes, but for 10%?

Every way to train the features is given shares of the default number of steps; whatever it leaves,
the mixture over heads follows, as in `metabo.meta_train`. Error is that on unseen logistic curves.
`seconds` are those of all cores together, by the clock of the process: other work on the machine
counts little. `wall_seconds` are those that a user waits, with so many threads.

    python experiments/time_to_quality.py [--smoke] [--seed 0] [--out DIR]
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd
import torch
import typer
from matplotlib.figure import Figure

from metabo.benchmark import plots
from metabo.benchmark.cases import logistic_case
from metabo.benchmark.few_shot import Episode, few_shot
from metabo.benchmark.methods import Exact, Metabo, Predictor
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.run import run_rows
from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.meta_training.refine import RefineSettings
from metabo.meta_training.reptile import ReptileSettings
from metabo.tasks import LogisticFamily

OUT = Path(__file__).parent / "results" / "time_to_quality"
GOOD, AT = 1.1, 8  # times the error of exact Bayes, after so many observations
_BY_GRADIENT = ReptileSettings(150, outer_step_size=6.0)  # MAML moves the weights by a gradient
METHODS = {
    "Reptile": FeatureSettings(),
    "first-order MAML": FeatureSettings(algorithm="first-order MAML", reptile=_BY_GRADIENT),
    "MAML": FeatureSettings(algorithm="MAML", reptile=_BY_GRADIENT),
    "marginal likelihood only": FeatureSettings(reptile=None),
    "random features": FeatureSettings(reptile=None, refine=RefineSettings(feature_step_size=0.0)),
}


@dataclass(frozen=True)
class Settings:
    """What is run."""

    shares: tuple[float, ...] = (0.1, 1.0)  # each a meta-training of its own
    num_tasks: int = MetaTrainSettings().num_tasks  # to meta-train on
    threads: int = 2
    episodes: int = 200  # unseen curves to predict
    counts: tuple[int, ...] = (AT,)  # from so many observations
    seeds: int = 1


SMOKE = Settings(shares=(0.01, 0.02), num_tasks=60, episodes=2, counts=(8,))


def errors(method: Predictor, episodes: list[Episode], settings: Settings) -> pd.Series:
    """The mean squared error on unseen curves, by n."""
    cells = [partial(few_shot, "logistic", method, e, settings.counts, seed=0) for e in episodes]
    return run_rows(cells, label=method.name, jobs=1).groupby("n").squared_error.mean()


def shortened(features: FeatureSettings, share: float) -> FeatureSettings:
    """A share of all steps."""
    loop, refine = features.reptile, features.refine
    if loop is not None:
        loop = replace(loop, outer_steps=math.ceil(share * loop.outer_steps))
    refine = replace(refine, steps=math.ceil(share * refine.steps))
    return replace(features, reptile=loop, refine=refine)


def run_seed(settings: Settings, seed: int) -> Iterator[pd.DataFrame]:
    """Every method with every share of the steps, a table each."""
    family, case = LogisticFamily(), logistic_case(settings.episodes, 0, seed=seed)
    episodes = list(case.episodes)
    exact = errors(Exact(family), episodes, settings)
    for name, features in METHODS.items():
        for share in settings.shares:
            own = MetaTrainSettings(settings.num_tasks, features=shortened(features, share))
            started, begun = time.process_time(), time.perf_counter()
            prior = meta_train(family, seed=seed, settings=own, device="cpu", progress=False)
            seconds = time.process_time() - started
            wall_seconds = time.perf_counter() - begun
            found = errors(Metabo(prior, f"{name}, {share:g}"), episodes, settings)
            table = pd.DataFrame({"mse": found, "exact_mse": exact, "ratio": found / exact})
            table = table.assign(seconds=seconds, wall_seconds=wall_seconds)
            yield table.assign(method=name, share=share, seed=seed).reset_index()


def figure_of(means: pd.DataFrame) -> Figure:
    """The error against the time."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for method, own in means.groupby("method", sort=False):
        axes.loglog(own["seconds"], own["ratio"], marker=".", label=method)
    axes.axhline(GOOD, color="black", lw=1, ls=":")
    axes.set(xlabel="seconds of meta-training, all cores", ylabel=f"error / exact Bayes, n = {AT}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.legend(fontsize="small")
    return figure


def main(smoke: bool = False, seed: int = 0, out: Path = OUT) -> None:
    """Run the experiment, write rows.csv, meta.json and a figure, and print the time to 1.1."""
    started = time.perf_counter()
    settings = SMOKE if smoke else Settings()
    torch.set_num_threads(settings.threads)
    rows = pd.DataFrame()
    for table in chain.from_iterable(run_seed(settings, seed + i) for i in range(settings.seeds)):
        rows = pd.concat([rows, table])
        write_rows(rows, out)
    used, seconds = asdict(settings) | {"seed": seed}, time.perf_counter() - started
    write_meta(out / "meta.json", settings=used, seconds=seconds)
    means = rows[rows["n"] == AT].groupby(["method", "share"], sort=False).mean(numeric_only=True)
    plots.save(figure_of(means), out / "time_to_quality.svg")
    for method, own in means.groupby("method", sort=False):
        good = own[own["ratio"] <= GOOD]  # none: nan, never
        waited, used = good["wall_seconds"].min(), good["seconds"].min()
        print(f"{method}: {waited:.1f} s ({used:.1f} s of a core); best {own['ratio'].min():.3f}")


if __name__ == "__main__":
    typer.run(main)
