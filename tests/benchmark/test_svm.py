"""Support vector machines: measured anew each time, and scored by what was known before."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pandas as pd
import pytest
import torch
from sklearn import datasets
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from metabo.benchmark.svm import (
    LEFT_OUT,
    accuracy,
    data_sets,
    share_images,
    svm_case,
    svm_grids,
)
from metabo.tasks import TableFamily


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("grids")
    return svm_grids(["iris", "digits 0-1", "digits 3-8", "digits 8-9"], 5, folder, jobs=1)


def test_accuracy_is_that_of_scikit_learn() -> None:
    X, y = datasets.load_iris(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    expected = cross_val_score(SVC(C=10.0, gamma=0.05), X, y, cv=5).mean()
    found = [accuracy("iris", {"C": 10.0, "gamma": 0.05}, seed) for seed in range(3)]
    assert found == pytest.approx([expected] * 3, abs=0.03)  # 120 of the 150, and other splits
    assert len(set(found)) > 1
    assert found[0] == accuracy("iris", {"C": 10.0, "gamma": 0.05}, 0)


def test_left_out_data_sets_are_not_learned_from(grids: pd.DataFrame) -> None:
    case = svm_case(grids, ["digits 3-8"], evaluations=3, seed=0)
    assert isinstance(case.family, TableFamily)
    assert set(case.family.names) == {"iris", "digits 0-1"}  # eights are in digits 8-9, too
    (problem,) = case.problems
    own = grids[grids["task"] == "digits 3-8"].groupby(["C", "gamma"], sort=False)["accuracy"]
    assert problem.values.tolist() == pytest.approx(own.mean().tolist())


def test_measurements_are_made_anew(grids: pd.DataFrame) -> None:
    (problem,) = svm_case(grids, ["digits 3-8"], evaluations=3, seed=0).problems
    x = problem.space.to_dicts(problem.candidates)[int(problem.values.argmax())]
    start = partial(torch.Generator().manual_seed, 4)
    measured = problem.measure(x, start())
    assert measured == problem.measure(x, start())
    assert measured == pytest.approx(float(problem.values.max()), abs=0.1)


def test_there_are_48_data_sets_of_which_eight_have_nothing_in_common() -> None:
    assert len(set(data_sets())) == 48
    assert set(LEFT_OUT) < set(data_sets())
    assert len(LEFT_OUT) == 8
    shared = [(a, b) for a, b in combinations(LEFT_OUT, 2) if share_images(a, b)]
    assert shared == []
    assert share_images("digits 3-8", "digits 0-3")
    assert share_images("wine", "wine")
