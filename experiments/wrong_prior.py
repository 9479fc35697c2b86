"""What does a wrong prior cost? Optimisation of functions that are not of the prior's family.

Priors are of logistic curves (or, for more inputs, logistic surfaces). The tasks are logistic
curves shifted, flipped or rescaled out of the family; bells; and windows of Branin and Hartmann-3
that are moved by up to 5% of the range from task to task.

    python experiments/wrong_prior.py [--smoke] [--seed 0] [--out DIR]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import typer
from botorch.test_functions import Branin, Hartmann, SyntheticTestFunction
from rich.console import Console
from torch import Tensor

from metabo import FunctionFamily, LogisticFamily, NormalFamily, Task
from metabo.benchmark.demo import DemoSettings
from metabo.benchmark.functions import surface_family
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Metabo, Random, Searcher, VanillaGP
from metabo.benchmark.problems import NetBenefit, Problem, Target, grid_problem
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.report import summarise, table
from metabo.benchmark.run import run_rows
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train

OUT = Path(__file__).parent / "results" / "wrong_prior"
COUNTS = (3, 5, 10, 20, 30)


@dataclass(frozen=True)
class Settings:
    """What is run."""

    tasks: int = 40  # of each kind
    evaluations: int = 30
    candidates: int = 1000  # of Branin and Hartmann-3; curves have 200
    jobs: int = 2
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)


SMOKE = Settings(1, 4, 50, 1, DemoSettings.smoke().meta_train)


def flipped(X: Tensor, L: Tensor, k: Tensor, x0: Tensor) -> Tensor:
    """A logistic curve that falls."""
    return L * torch.sigmoid(-k * (X - x0))


def curves(settings: Settings, seed: int) -> Iterator[Problem]:
    """Curves of other families."""
    tall = LogisticFamily(L=(10, 100), noise_sd=0.5)
    falling = FunctionFamily(flipped, LogisticFamily().parameters, (-4, 4), 0.05)
    kinds = [
        ("bells", NormalFamily(), None),
        ("shifted logistics, net benefit", LogisticFamily(x0=(1.5, 3.5)), NetBenefit(0.8, -4.0)),
        ("flipped logistics, target", falling, Target(0.7)),
        ("10 times logistics, net benefit", tall, NetBenefit(8.0, -4.0)),
    ]
    for name, family, objective in kinds:
        for task in family.tasks(settings.tasks, 1, seed=seed + 3_000_000):
            yield grid_problem(name, task, noise_sd=family.noise_sd, objective=objective)


def moved(function: SyntheticTestFunction, shift: Tensor) -> Callable[[Tensor], Tensor]:
    """The function on a window of nine tenths of its range, shifted from the middle."""
    low, high = torch.as_tensor(function.bounds)
    middle = (low + high) / 2 + shift * (high - low)
    return lambda X: function(middle + 0.9 * (X - (low + high) / 2)).unsqueeze(-1)


def surfaces(
    name: str,
    function: SyntheticTestFunction,
    family: FunctionFamily,
    settings: Settings,
    seed: int,
) -> Iterator[Problem]:
    """A test function, moved a little for each task."""
    generator = torch.Generator().manual_seed(seed)
    none = torch.empty(0, family.space.dim, dtype=torch.float64)
    for i in range(settings.tasks):
        shift = 0.1 * torch.rand(family.space.dim, generator=generator, dtype=torch.float64) - 0.05
        task = Task(f"{name}-{seed}-{i}", family.space, none, none[:, :1], moved(function, shift))
        yield grid_problem(
            name, task, noise_sd=0.0, objective=None, num_candidates=settings.candidates
        )


def main(smoke: bool = False, seed: int = 0, out: Path = OUT) -> None:
    """Run the experiment, print its regrets, and write rows.csv and meta.json."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    grid: list[tuple[FunctionFamily, list[Problem]]]
    grid = [(LogisticFamily(), list(curves(settings, seed)))]
    for name, function in {
        "Branin": Branin(negate=True),
        "Hartmann-3": Hartmann(3, negate=True),
    }.items():
        family = surface_family(torch.as_tensor(function.bounds).double())
        grid.append((family, list(surfaces(name, function, family, settings, seed))))
    cells = []
    for family, problems in grid:
        prior = meta_train(family, seed=seed, settings=settings.meta_train, device="cpu")
        methods: list[Searcher] = [Random(), VanillaGP(), Metabo(prior)]
        cells += [
            partial(optimise, problem, method, settings.evaluations, seed=seed)
            for problem in problems
            for method in methods
        ]
    rows: pd.DataFrame = run_rows(cells, label="optimising", jobs=settings.jobs)
    write_rows(rows, out)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    for name, own in rows.groupby("problem", sort=False):
        Console().print(table(summarise(own, "regret", COUNTS), f"Regret, {name}"))


if __name__ == "__main__":
    typer.run(main)
