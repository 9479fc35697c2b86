"""A support vector machine on a new data set, evaluated as it runs, after others like it.

C and gamma of scikit-learn's SVC are tuned on pairs of handwritten digits and on three other data
sets, eight in all, each left out in turn. All methods may learn from 60 earlier runs on each of the
data sets that have no observations of it: of pairs, those of other digits. A measurement is the
accuracy in 5-fold cross-validation, split anew.

    python experiments/bo_svm_digits.py [--smoke | --quick] [--seed 0] [--out DIR]
"""

from functools import partial
from pathlib import Path

import typer

from metabo.benchmark.contest import Setup
from metabo.benchmark.experiment import Size, experiment
from metabo.benchmark.svm import LEFT_OUT, data_sets, svm_case, svm_grids

CANDIDATES = 200
PART = 8


def setups(size: Size, seed: int, work: Path) -> list[Setup]:
    """Each data set left out."""
    count, left_out = size.candidates or CANDIDATES, LEFT_OUT[: size.tasks]
    names = data_sets()
    if size.tasks is not None:  # a part is learned from a part
        names = list(dict.fromkeys([*left_out, *names[-PART * size.tasks :]]))
    grids = svm_grids(names, count, work / "grids", jobs=size.contest.jobs)
    return [
        Setup(
            {"svm": name, "candidates": count, "data_sets": len(names)},
            partial(svm_case, grids, [name], evaluations=size.evaluations, seed=seed + i),
            seed + i,
        )
        for i in range(size.seeds)
        for name in left_out
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
