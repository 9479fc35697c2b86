"""What both few-shot scripts share: methods predict unseen curves from their first points."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from metabo.benchmark.adapted_network import AdaptedNetwork
from metabo.benchmark.demo import DemoSettings
from metabo.benchmark.few_shot import few_shot, grid_episode
from metabo.benchmark.methods import Exact, Metabo, PlainSurrogate, Predictor, VanillaGP
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.report import summarise, table
from metabo.benchmark.run import run_rows
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.surrogates import ReptileKernelGP, ReptileMeanGP
from metabo.tasks import FunctionFamily

RESULTS = Path(__file__).parents[1] / "results"
TEST_SEED = 2_000_000  # of the curves that nothing was trained on
MEASURES = {
    "squared_error": "Mean squared error",
    "negative_log_density": "Negative log density (nats)",
    "crps": "Continuous ranked probability score",
    "coverage": "Share inside the 90% interval",
    "coverage_50": "Share inside the 50% interval",
}


@dataclass(frozen=True)
class Settings:
    """What is run."""

    tasks: int = 600
    counts: tuple[int, ...] = (0, 1, 2, 3, 5, 8, 10)
    jobs: int = 2
    reptile_steps: int = 1000  # for the network alone
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)


SMOKE = Settings(
    tasks=2,
    counts=(0, 1, 3),
    jobs=1,
    reptile_steps=2,
    meta_train=DemoSettings.smoke().meta_train,
)


def methods(family: FunctionFamily, settings: Settings, seed: int) -> Sequence[Predictor]:
    """All that are compared; the settings of ours are the defaults."""
    ours = settings.meta_train
    one = replace(ours, heads=replace(ours.heads, num_components=(1,)))
    prior, gaussian = (meta_train(family, seed=seed, settings=s, device="cpu") for s in (ours, one))
    return [
        VanillaGP(),
        PlainSurrogate(ReptileMeanGP, prior),
        PlainSurrogate(ReptileKernelGP, prior),
        AdaptedNetwork.meta_train(family, seed=seed, outer_steps=settings.reptile_steps),
        Metabo(gaussian, "metabo, K = 1"),
        Metabo(prior),
        Exact(family),
    ]


def run(name: str, family: FunctionFamily, *, smoke: bool, seed: int, out: Path | None) -> None:
    """Predict, print the scores, and write rows.csv and meta.json."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    out = out or RESULTS / f"fewshot_{name}"
    tasks = family.tasks(settings.tasks, max(settings.counts), seed=seed + TEST_SEED)
    episodes = [
        grid_episode(t, noise_sd=family.noise_sd, seed=seed + i) for i, t in enumerate(tasks)
    ]
    cells = []
    for method in methods(family, settings, seed):
        needs_data = isinstance(method, (VanillaGP, PlainSurrogate))
        counts = [n for n in settings.counts if n > 0 or not needs_data]
        cells += [partial(few_shot, name, method, e, counts, seed=seed) for e in episodes]
    rows: pd.DataFrame = run_rows(cells, label=name, jobs=settings.jobs)
    write_rows(rows, out)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    for measure, title in MEASURES.items():
        Console().print(table(summarise(rows, measure), title))
