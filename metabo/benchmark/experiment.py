"""What the experiments share: the command line, the run, and the files that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metabo.benchmark.cases import left_out_case
from metabo.benchmark.cluster import on_cluster
from metabo.benchmark.contest import ContestSettings, Setup, run_contest
from metabo.benchmark.page import write_page
from metabo.benchmark.record import read_results, write_failures, write_meta, write_rows
from metabo.benchmark.report import summarise, table
from metabo.benchmark.scores import COUNTS
from metabo.meta_training.meta_train import MetaTrainSettings
from metabo.seed import LARGEST_SEED
from metabo.tasks import TableFamily


@dataclass(frozen=True)
class Size:
    """How large an experiment is.

    Attributes:
        evaluations: How many evaluations each search gets.
        seeds: How many seeds: of meta-training, of random starts, of the noise.
        tasks: How many tasks are optimised, of those there are (for each seed, if they are drawn);
            all if None.
        candidates: How many points there are to choose from; all if None.
        contest: Who takes part, and on what.
    """

    evaluations: int = 50
    seeds: int = 5
    tasks: int | None = None
    candidates: int | None = None
    contest: ContestSettings = field(default_factory=ContestSettings)

    def smoke(self) -> Size:
        """As small as can be: whether it runs, not how good it is."""
        contest = ContestSettings(jobs=1, meta_train=MetaTrainSettings.smoke())
        return Size(evaluations=4, seeds=1, tasks=1, candidates=24, contest=contest)


Setups = Callable[[Size, int, Path], Sequence[Setup]]


def left_out(name: str, table: Callable[..., TableFamily]) -> Setups:
    """What to run for a table: each of its tasks left out in turn, for all seeds.

    Fewer candidates than there are, are drawn anew for each seed, the same for all tasks of it.

    Args:
        name: What it is called in tables.
        table: Gives it: called as `table(num_settings, seed=seed)`, and picklable.
    """

    def setups(size: Size, seed: int, work: Path) -> list[Setup]:
        found = []
        for i in range(seed, seed + size.seeds):
            load = partial(table, size.candidates, seed=i)
            found += [
                Setup(
                    {"table": name, "left_out": task, "candidates": size.candidates, "draw": i},
                    partial(left_out_case, name, load, [task], evaluations=size.evaluations),
                    i,
                )
                for task in load().names[: size.tasks]
            ]
        return found

    return setups


def experiment(
    setups: Setups, out: Path, *, full: Size, quick: Size, title: str
) -> Callable[..., None]:
    """The command of an experiment.

    Args:
        setups: Gives what is run, from the size, the first seed and the folder for what is found
            on the way.
        out: The default folder.
        full: The experiment.
        quick: A part of it that takes minutes.
        title: Of the report.
    """

    def main(
        smoke: Annotated[bool, typer.Option("--smoke", help="Tiny: does it run at all?")] = False,
        reduced: Annotated[bool, typer.Option("--quick", help="A part, in minutes.")] = False,
        seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="The first seed.")] = 0,
        seeds: Annotated[
            int | None, typer.Option(min=1, help="How many seeds; default: as the size has it.")
        ] = None,
        evaluations: Annotated[
            int | None, typer.Option(min=1, help="How many for each search; default: likewise.")
        ] = None,
        tasks: Annotated[
            int | None, typer.Option(min=1, help="How many are optimised; default: likewise.")
        ] = None,
        candidates: Annotated[
            int | None, typer.Option(min=1, help="How many to choose from; default: likewise.")
        ] = None,
        method: Annotated[
            list[str] | None, typer.Option(help="Only this one; may be repeated.")
        ] = None,
        out: Annotated[Path, typer.Option(help="The folder for results.")] = out,
        work: Annotated[
            Path | None,
            typer.Option(help="The folder for Priors and cells; default: runs/NAME."),
        ] = None,
        jobs: Annotated[int, typer.Option(min=1, help="How many processes.")] = 2,
        cluster: Annotated[
            str | None, typer.Option(help="Run on it: Dask's tcp://HOST:PORT, ray, or ray://...")
        ] = None,
        retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    ) -> None:
        """Run it, or go on; write rows, where they come from, and a report."""
        size = full.smoke() if smoke else quick if reduced else full
        own_jobs = None if cluster else min(jobs, 1) if smoke else jobs
        contest = replace(size.contest, jobs=own_jobs, methods=tuple(method) if method else None)
        size = replace(
            size,
            seeds=seeds or size.seeds,
            evaluations=evaluations or size.evaluations,
            tasks=tasks or size.tasks,
            candidates=candidates or size.candidates,
            contest=contest,
        )
        work = work or Path("runs") / out.name
        with on_cluster(cluster):
            _run(setups, size, seed, out, work, title, retry)

    return main


def _run(
    setups: Setups, size: Size, seed: int, out: Path, work: Path, title: str, retry: bool
) -> None:
    started = time.perf_counter()
    results = run_contest(setups(size, seed, work), size.contest, work, retry=retry)
    write_rows(results.rows, out)
    write_failures(results.failures, out / "failures.json")
    seconds = time.perf_counter() - started
    settings = {"title": title, **asdict(size), "seed": seed}
    write_meta(out / "meta.json", settings=settings, seconds=seconds)
    console = Console()
    if not results.rows.empty:
        write_page([read_results(out)], out / "report.html", title=title)
        for problem, rows in results.rows.groupby("problem", sort=False):
            console.print(table(summarise(rows, "regret", COUNTS), f"Regret, {problem}"))
    console.print(f"{seconds:.0f} s. Results are in {out.resolve()}", highlight=False)
    if results.failures:
        console.print(f"{len(results.failures)} cells failed: see {out / 'failures.json'}")
        raise typer.Exit(1)
