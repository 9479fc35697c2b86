"""HPO-B's layout: X and y by search space and data set, and the rows that methods start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metabo.benchmark.hpob import hpob_problems, read_hpob
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Random, VanillaGP

TRAIN = {"4796": {"3": {"X": [[0.0, 0.5], [1.0, 0.5]], "y": [[0.2], [0.9]]}}, "5527": {}}
TEST = {
    "4796": {
        "9": {"X": [[0.1, 0.5], [0.2, 0.5], [0.9, 0.5], [0.2, 0.5]], "y": [[1], [2], [3], [4]]}
    }
}
STARTS = {"4796": {"9": {"test0": [2, 0], "test1": [1]}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"meta-train-dataset": TRAIN, "meta-test-dataset": TEST, "bo-initializations": STARTS}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_data_sets_of_one_search_space(folder: Path) -> None:
    paths = [folder / "meta-train-dataset.json", folder / "meta-test-dataset.json"]
    family = read_hpob(paths, "4796")
    assert family.names == ("3", "9")
    assert family.tasks()[1].X.tolist() == TEST["4796"]["9"]["X"]
    assert family.tasks()[0].Y.tolist() == TRAIN["4796"]["3"]["y"]
    assert family.space.bounds.tolist() == [[0.0, 0.5], [1.0, 1.5]]
    with pytest.raises(ValueError, match="no search space '5527'"):
        read_hpob(paths, "5527")


def test_all_methods_start_from_the_given_points(folder: Path) -> None:
    paths = [folder / "meta-train-dataset.json", folder / "meta-test-dataset.json"]
    family = read_hpob(paths, "4796")
    (problem,) = hpob_problems(family, folder / "bo-initializations.json", "4796")
    # Rows 1 and 3 are one candidate, of value 3: the best, as is row 2.
    assert problem.values.tolist() == [1.0, 3.0, 3.0]
    for method in (Random(), VanillaGP()):
        for seed, regrets in {0: [0.0, 0.0], 1: [0.0]}.items():
            rows = optimise(problem, method, 3, seed=seed)
            assert [row["regret"] for row in rows[: len(regrets)]] == regrets
            assert len(rows) == 3
    assert problem.initial[0].tolist() == [[0.9, 0.5], [0.1, 0.5]]


def test_a_broken_file_is_named(folder: Path) -> None:
    path = folder / "meta-test-dataset.json"
    path.write_text(json.dumps({"4796": {"9": {"X": [[0.0]], "y": [[1], [2]]}}}))
    with pytest.raises(ValueError, match=r"meta-test-dataset.json, 4796/9: X is \(1, 1\)"):
        read_hpob([path], "4796")
    family = read_hpob([folder / "meta-train-dataset.json"], "4796")
    starts = folder / "bo-initializations.json"
    starts.write_text(json.dumps({"4796": {"3": {"test0": [7]}}}))
    with pytest.raises(ValueError, match=r"bo-initializations.json, 4796/3"):
        hpob_problems(family, starts, "4796")
