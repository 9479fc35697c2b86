"""The main job, end to end: learn priors from earlier runs, compare on new tasks, save it all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from metabo.benchmark import plots
from metabo.benchmark.cases import Case, dnase_case, hpobench_case, logistic_case, soybean_case
from metabo.benchmark.datasets import hpobench
from metabo.benchmark.record import write_meta, write_rows
from metabo.benchmark.report import gap_closed_by, summarise, table
from metabo.benchmark.run import run, run_rows
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.prior import Prior

_AXES = {
    "logistic": ("x", "response"),
    "soybean": ("day", "leaf weight (g / plant)"),
    "DNase": ("concentration (ng/ml)", "optical density"),
}


@dataclass(frozen=True)
class DemoSettings:
    """How large the demo is.

    Attributes:
        meta_train: As for `metabo.meta_train`.
        episodes: How many logistic curves to predict.
        problems: How many logistic curves to optimise, for each objective.
        data_sets: How many of HPOBench's data sets to leave out, each in turn.
        settings: How many of HPOBench's 30,000 settings there are to choose from.
        evaluations: How many evaluations each search on HPOBench gets.
        curves: How many real curves to predict and to optimise at most.
        runs: How many runs there are on each real task.
        jobs: How many processes.
    """

    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)
    episodes: int = 100
    problems: int = 40
    data_sets: int = 2
    settings: int = 2000
    evaluations: int = 15
    curves: int | None = None
    runs: int = 3
    jobs: int = 2

    @classmethod
    def smoke(cls) -> DemoSettings:
        """As small as can be: whether it runs, not how good it is."""
        return cls(
            meta_train=MetaTrainSettings.smoke(),
            episodes=2,
            problems=1,
            data_sets=1,
            settings=100,
            evaluations=4,
            curves=2,
            runs=1,
            jobs=1,  # starting processes would take longer than the work
        )


def run_demo(settings: DemoSettings, *, seed: int, out: Path) -> None:
    """Run the demo, print its tables, and save tables, figures and priors.

    Args:
        settings: How large it is.
        seed: Of everything.
        out: The folder to write to.
    """
    started = time.perf_counter()
    console = Console()
    cases = _cases(settings, seed)
    priors = _meta_train(cases, settings, seed)
    pairs = list(zip(cases, priors, strict=True))
    cells = [cell for case, prior in pairs for cell in case.few_shot_cells(prior, seed=seed)]
    few_shot = run_rows(cells, label="predicting", jobs=settings.jobs)
    cells = [
        cell
        for case, prior in pairs
        for cell in case.search_cells(prior, seeds=_seeds(case, settings, seed))
    ]
    regret = run_rows(cells, label="optimising", jobs=settings.jobs)
    accuracies, regrets = summarise(few_shot, "squared_error"), summarise(regret, "regret")
    _print(console, few_shot, accuracies, regrets)
    for name, frame in {"few_shot": few_shot, "regret": regret}.items():
        write_rows(frame, out, name)
    write_rows(pd.concat([accuracies, regrets]), out, "summary")
    _save_figures(out, pairs, accuracies, regrets)
    for case, prior in pairs:
        prior.save(out / f"{_file_name(case)}.safetensors")
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    console.print(f"\n{seconds:.0f} s. Tables, figures and priors are in {out.resolve()}")


def _cases(settings: DemoSettings, seed: int) -> list[Case]:
    names = hpobench(settings.settings, seed=seed).names
    left_out = [names[(seed + 4 * i) % len(names)] for i in range(settings.data_sets)]
    return [
        logistic_case(settings.episodes, settings.problems, seed=seed),
        soybean_case(settings.curves, seed=seed),
        dnase_case(settings.curves, seed=seed),
        *(
            hpobench_case(
                name, num_settings=settings.settings, evaluations=settings.evaluations, seed=seed
            )
            for name in left_out
        ),
    ]


def _meta_train(cases: Sequence[Case], settings: DemoSettings, seed: int) -> list[Prior]:
    train = partial(meta_train, seed=seed, settings=settings.meta_train, progress=False)
    return run(
        [partial(train, case.family) for case in cases], label="meta-training", jobs=settings.jobs
    )


def _seeds(case: Case, settings: DemoSettings, seed: int) -> range:
    """One run of each logistic curve: there are enough of them."""
    return range(seed, seed + (1 if case.name == "logistic" else settings.runs))


def _print(
    console: Console, few_shot: pd.DataFrame, accuracies: pd.DataFrame, regrets: pd.DataFrame
) -> None:
    for problem, rows in accuracies.groupby("problem", sort=False):
        console.print(table(rows, f"{problem}: mean squared error on unseen tasks"))
        if "exact Bayes" in rows["method"].values:
            closed = gap_closed_by(few_shot[few_shot["problem"] == problem], "metabo")
            shares = ", ".join(f"{share:.1%} at n = {n}" for n, share in closed.items())
            console.print(f"metabo closes of the gap between vanilla GP and exact Bayes: {shares}")
    for problem, rows in regrets.groupby("problem", sort=False):
        counts = [n for n in (1, 2, 3, 4, 5, 10, 15) if n in rows["n"].values]
        console.print(table(rows, f"{problem}: regret, as a share of the range", counts))


def _save_figures(
    out: Path,
    pairs: Sequence[tuple[Case, Prior]],
    accuracies: pd.DataFrame,
    regrets: pd.DataFrame,
) -> None:
    for case, prior in pairs:
        if case.name in _AXES:
            figure = plots.posterior_figure(prior, case.episodes[0], labels=_AXES[case.name])
            plots.save(figure, out / f"{case.name}_posterior.png")
    figure = plots.curves_figure(accuracies, log=True, label="mean squared error")
    plots.save(figure, out / "few_shot.png")
    figure = plots.curves_figure(regrets, label="regret (share of the range)")
    plots.save(figure, out / "regret.png")


def _file_name(case: Case) -> str:
    """HPOBench's cases differ in the data set that was left out."""
    return case.name if case.name in _AXES else f"{case.name}_without_{case.problems[0].task}"
