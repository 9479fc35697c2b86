"""A support vector machine on a new data set, evaluated as it runs, after others like it.

C and gamma of scikit-learn's SVC are tuned on pairs of handwritten digits and on three other data
sets, in eight groups that are left out in turn. All methods may learn from 60 earlier runs on each
of the other data sets. A measurement is the accuracy in 5-fold cross-validation, split anew.

    python experiments/bo_svm_digits.py [--smoke | --quick] [--seed 0] [--out DIR]
"""

from functools import partial
from pathlib import Path

import typer

from metabo.benchmark.contest import Setup
from metabo.benchmark.experiment import Size, experiment
from metabo.benchmark.svm import data_sets, svm_case, svm_grids

GROUPS = 8
CANDIDATES = 200


def setups(size: Size, seed: int, work: Path) -> list[Setup]:
    """Each group of data sets left out."""
    count = size.candidates or CANDIDATES
    names = data_sets() if size.tasks is None else data_sets()[: GROUPS * size.tasks]
    grids = svm_grids(names, count, work / "grids", jobs=size.contest.jobs)
    groups = [names[i::GROUPS] for i in range(GROUPS)][: size.tasks]
    return [
        Setup(
            {"svm": group, "candidates": count},
            partial(svm_case, grids, group, evaluations=size.evaluations, seed=seed + i),
            seed + i,
        )
        for i in range(size.seeds)
        for group in groups
    ]


main = experiment(
    setups,
    Path(__file__).parent / "results" / "bo_svm_digits",
    full=Size(seeds=3),
    quick=Size(evaluations=15, seeds=1, tasks=2, candidates=48),
    title="Support vector machines on small data sets",
)

if __name__ == "__main__":
    typer.run(main)
