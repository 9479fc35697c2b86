"""Support vector machines on small real data sets: two inputs to tune, evaluated as it runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ConfigSpace import ConfigurationSpace, Float

from metabo.benchmark.cases import Case
from metabo.benchmark.cells import Cell, run_cells
from metabo.benchmark.problems import Problem
from metabo.benchmark.run import Rows
from metabo.space import InputSpace
from metabo.tasks import TableFamily

_SIZE = 120  # observations of a data set
_RUNS = 60  # earlier runs of each training task
_TRUTH = 3  # times that every setting is cross-validated, to know what is best


_OTHERS = ["iris", "wine", "breast_cancer"]
# What is optimised: no two of them have observations in common.
LEFT_OUT = ["digits 0-1", "iris", "digits 2-3", "wine", "digits 4-5", "breast_cancer", "digits 6-7",
            "digits 8-9"]  # fmt: skip


def data_sets() -> list[str]:
    """Pairs of handwritten digits to be told apart, and three other data sets of scikit-learn."""
    return [*_OTHERS, *(f"digits {a}-{b}" for a, b in itertools.combinations(range(10), 2))]


def svm_space() -> InputSpace:
    """The inputs of `sklearn.svm.SVC` with its radial kernel."""
    space = ConfigurationSpace()
    space.add(Float("C", (1e-2, 1e4), log=True), Float("gamma", (1e-5, 1e1), log=True))
    return InputSpace(space, ["C", "gamma"])


@cache
def _load(name: str) -> tuple[Any, Any]:
    """Standardised inputs and classes; at most 120 observations, as many of each data set's own."""
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    kind, _, pair = name.partition(" ")
    X, y = getattr(datasets, f"load_{kind}")(return_X_y=True)
    if pair:
        chosen = np.isin(y, [int(digit) for digit in _digits(name)])
        X, y = X[chosen], y[chosen]
    rows = np.random.default_rng(data_sets().index(name)).permutation(len(X))[:_SIZE]
    return StandardScaler().fit_transform(X[rows]), y[rows]


def accuracy(name: str, x: Mapping[str, Any], seed: int) -> float:
    """The accuracy in 5-fold cross-validation, of splits that the seed decides."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    X, y = _load(name)
    splits = StratifiedKFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(SVC(C=x["C"], gamma=x["gamma"]), X, y, cv=splits).mean())


@dataclass(frozen=True, eq=False)
class LiveProblem(Problem):
    """A problem whose responses only serve to tell what is best: measurements are made anew.

    Attributes:
        evaluate: Measures a point, with a seed for what is random in it.
    """

    evaluate: Callable[[Mapping[str, Any], int], float] = field(kw_only=True)

    def measure(self, x: Mapping[str, Any], generator: torch.Generator) -> float:
        """Evaluate a point; methods with one generator's seed have the same luck."""
        return self.evaluate(x, int(torch.randint(2**31, (), generator=generator)))


def svm_grids(
    names: Sequence[str], num_candidates: int, folder: Path, *, jobs: int | None
) -> pd.DataFrame:
    """All candidates on all data sets, each cross-validated three times.

    Args:
        names: The data sets.
        num_candidates: How many settings, spread evenly.
        folder: Keeps what is finished.
        jobs: As in `finished`.

    Returns:
        A table with task, C, gamma, split and accuracy.

    Raises:
        RuntimeError: If a data set could not be evaluated.
    """
    cells = [
        Cell({"data": name, "candidates": num_candidates}, partial(_grid, name, num_candidates))
        for name in names
    ]
    results = run_cells(cells, folder, label="evaluating grids", jobs=jobs)
    if results.failures:
        raise RuntimeError(f"no grid of {results.failures[0]['data']}: see {folder}")
    return results.rows


def _grid(name: str, num_candidates: int) -> Rows:
    space = svm_space()
    return [
        {"task": name, **x, "split": split, "accuracy": accuracy(name, x, -1 - split + 2**32)}
        for x in space.to_dicts(space.sample(num_candidates, seed=0))
        for split in range(_TRUTH)
    ]


def share_images(a: str, b: str) -> bool:
    """Whether two data sets have observations in common: one digit is enough."""
    first, second = ({name} if " " not in name else set(_digits(name)) for name in (a, b))
    return bool(first & second)


def _digits(name: str) -> list[str]:
    return name.partition(" ")[2].split("-")


def svm_case(grids: pd.DataFrame, left_out: Sequence[str], *, evaluations: int, seed: int) -> Case:
    """Some data sets, after 60 runs on each of the others that have no observations of these.

    Args:
        grids: From `svm_grids`.
        left_out: The data sets to optimise on.
        evaluations: How many evaluations each search gets.
        seed: Of the earlier runs.
    """
    space, columns = svm_space(), ["C", "gamma"]
    names = list(grids["task"].unique())
    others = [name for name in names if not any(share_images(name, out) for out in left_out)]
    once = grids[(grids["split"] == 0) & grids["task"].isin(others)]
    runs = once.groupby("task", sort=False).sample(
        n=min(_RUNS, int(once["task"].value_counts().min())), random_state=seed
    )
    family = TableFamily.from_frame(
        runs[["task", *columns, "accuracy"]], task="task", output="accuracy", space=space
    )
    problems = []
    for name in left_out:
        own = grids[grids["task"] == name]
        values = own.pivot_table(index=columns, columns="split", values="accuracy", sort=False)
        candidates = space.to_tensor(values.index.to_frame(index=False))
        responses = torch.tensor(values.to_numpy(), dtype=torch.float64)
        evaluate = partial(accuracy, name)
        problems.append(LiveProblem("SVM", name, space, candidates, responses, evaluate=evaluate))
    return Case("SVM", family, [], (), problems, evaluations)
