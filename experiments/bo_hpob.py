"""HPO-B: tuning a model on new data sets, after tuning runs on many others.

The data are not ours to pass on: download them (https://github.com/machinelearningnuremberg/HPO-B)
and name the folder that has `meta-train-dataset.json`, `meta-test-dataset.json` and
`bo-initializations.json`. All methods learn from the former, and start on each data set of the
second one from the five points that HPO-B gives for a seed.

    python experiments/bo_hpob.py DATA --space 4796 [--smoke] [--seeds 5] [--out DIR]
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from metabo.benchmark.cases import Case
from metabo.benchmark.contest import Setup
from metabo.benchmark.experiment import Size, experiment
from metabo.benchmark.hpob import hpob_problems, read_hpob

FILES = ("meta-train-dataset.json", "meta-test-dataset.json")


def hpob_case(data: Path, space: str, num_tasks: int | None, evaluations: int) -> Case:
    """The data sets with starts, after all others of the search space."""
    family = read_hpob([data / name for name in FILES], space)
    problems = hpob_problems(family, data / "bo-initializations.json", space)
    earlier = family.without([problem.task for problem in problems])
    return Case(f"HPO-B {space}", earlier, [], (), problems[:num_tasks], evaluations)


def setups(data: Path, space: str, size: Size, seed: int, work: Path) -> list[Setup]:
    """HPO-B's seeds: each has starts of its own."""
    load = partial(hpob_case, data, space, size.tasks, size.evaluations)
    key = {"hpob": space, "tasks": size.tasks}
    return [Setup(key, load, i) for i in range(seed, seed + size.seeds)]


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="HPO-B's folder.")],
    space: Annotated[str, typer.Option(help="The search space, by HPO-B's name.")],
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny: does it run at all?")] = False,
    seeds: Annotated[int, typer.Option(min=1, max=5, help="How many of HPO-B's five.")] = 5,
    evaluations: Annotated[int, typer.Option(min=6, help="With the five starts.")] = 50,
    method: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for results.")] = Path("runs/bo_hpob"),
    jobs: Annotated[int, typer.Option(min=1, help="How many processes.")] = 2,
    cluster: Annotated[
        str | None, typer.Option(help="Run on it: Dask's tcp://HOST:PORT, ray, or ray://...")
    ] = None,
) -> None:
    """Run it, or go on; write rows, where they come from, and a report."""
    size = Size(evaluations=evaluations, seeds=seeds)
    run = experiment(
        partial(setups, data, space), out, full=size, quick=size, title=f"HPO-B, space {space}"
    )
    run(smoke=smoke, method=method, out=out, work=out / "work", jobs=jobs, cluster=cluster)


if __name__ == "__main__":
    typer.run(main)
