"""What are the effects of single points worth, on tables whose tasks share their settings?

The searches of metabo on tasks that were left out, with and without the effects, on one Prior.

    python experiments/point_effects.py [--smoke] [--seed 0] [--out DIR] [--work DIR] [--jobs 2]

Priors are kept in the work folder; those of a benchmark on the same tables may be put there.
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
from rich.console import Console

from metabo import Prior
from metabo.benchmark.cells import Failure
from metabo.benchmark.contest import ContestSettings, Setup, train_priors
from metabo.benchmark.datasets import hpobench, hpolib, nasbench201
from metabo.benchmark.experiment import Size, left_out
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Metabo
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.report import summarise, table
from metabo.benchmark.run import Rows, run_rows
from metabo.meta_training.meta_train import MetaTrainSettings

OUT = Path(__file__).parent / "results" / "point_effects"
COUNTS = (1, 2, 3, 5, 10, 25)
TABLES = {"HPOBench": hpobench, "HPOLib": hpolib, "NAS-Bench-201": nasbench201}


@dataclass(frozen=True)
class Settings:
    """What is run."""

    tables: dict[str, tuple[int, int | None]] = field(  # seeds, and settings to choose from
        default_factory=lambda: {
            "HPOBench": (5, 2000),
            "HPOLib": (1, 2000),
            "NAS-Bench-201": (1, None),
        }
    )
    tasks: int | None = None
    evaluations: int = 25
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)

    def setups(self, seed: int, work: Path) -> Iterator[Setup]:
        """Each task of each table left out, for each seed."""
        for name, (seeds, candidates) in self.tables.items():
            size = Size(self.evaluations, seeds, self.tasks, candidates)
            yield from left_out(name, TABLES[name])(size, seed, work)


SMOKE = Settings({"HPOBench": (1, 24)}, 1, 3, MetaTrainSettings.smoke())


def without_effects(prior: Prior) -> Prior:
    """The same Prior, of which no point has an effect."""
    if prior.known is None:
        return prior
    known = replace(prior.known, effects=torch.zeros_like(prior.known.effects))
    return replace(prior, known=known)


def searches(setup: Setup, prior: Prior | Failure) -> Rows:
    """With and without the effects."""
    if isinstance(prior, Failure):
        raise RuntimeError(f"meta-training failed for {setup.key}:\n{prior.traceback}")
    case = setup.load()
    methods = (Metabo(prior), Metabo(without_effects(prior), "metabo, without effects"))
    return [
        row
        for problem in case.problems
        for method in methods
        for row in optimise(problem, method, case.evaluations, seed=setup.seed)
    ]


def main(
    smoke: bool = False,
    seed: int = 0,
    out: Path = OUT,
    work: Path = Path("runs") / "point_effects",
    jobs: int = 2,
) -> None:
    """Run the experiment, print its regrets, and write rows.csv and meta.json."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    jobs = 1 if smoke else jobs
    contest = ContestSettings(jobs=jobs, meta_train=settings.meta_train)
    setups = list(settings.setups(seed, work))
    priors = train_priors(setups, contest, work / "priors")
    cells = [partial(searches, setup, priors[setup.name]) for setup in setups]
    rows: pd.DataFrame = run_rows(cells, label="optimising", jobs=jobs)
    write_rows(rows, out)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    for name, own in rows.groupby("problem", sort=False):
        Console().print(table(summarise(own, "regret", COUNTS), f"Regret, {name}"))


if __name__ == "__main__":
    typer.run(main)
