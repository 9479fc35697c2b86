"""A contest learns once from each family, goes on after a stop, and reports what failed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from metabo.benchmark.cases import Case, closed_form_case, left_out_case
from metabo.benchmark.contest import (
    FROM_RUNS,
    ContestSettings,
    Setup,
    earlier_runs,
    run_contest,
)
from metabo.benchmark.datasets import dnase
from metabo.benchmark.methods import OWN_METHODS, PACKAGE_METHODS
from metabo.benchmark.problems import NetBenefit
from metabo.meta_training.meta_train import MetaTrainSettings
from metabo.tasks import LogisticFamily, TableFamily

SETTINGS = ContestSettings(jobs=1, meta_train=MetaTrainSettings.smoke())
FAMILY = LogisticFamily()


def case(tasks: int, seed: int) -> Case:
    objectives = {"net": NetBenefit(0.8, -4.0)}
    return closed_form_case(
        "l", FAMILY, objectives, tasks, evaluations=3, seed=seed, num_candidates=20
    )


def setup(tasks: int = 2, seed: int = 0) -> Setup:
    return Setup({"case": "l"}, partial(case, tasks, seed), seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contest")
    run_contest([setup()], SETTINGS, folder)
    return folder


def test_all_methods_on_all_problems(folder: Path) -> None:
    results = run_contest([setup()], SETTINGS, folder)
    assert results.failures == []
    assert set(OWN_METHODS) < set(results.rows["method"])
    assert not set(PACKAGE_METHODS) & set(results.rows["method"])  # only if asked for
    counts = results.rows.groupby(["method", "task"])["n"].apply(list)
    expected = {"metabo", FROM_RUNS, "random", "vanilla GP", "exact Bayes"}
    assert expected <= set(results.rows["method"])
    assert "vanilla GP, qLogNEI" not in set(results.rows["method"])  # both are one: an objective
    assert len(counts) == 2 * results.rows["method"].nunique()
    assert all(n == [1, 2, 3] for n in counts)


def test_what_is_there_is_not_done_again(folder: Path) -> None:
    before = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*.*")}
    assert len([path for path in before if path.suffix == ".safetensors"]) == 2
    run_contest([setup(3)], SETTINGS, folder)  # one more task
    after = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*.*")}
    assert after.items() >= before.items()
    methods = sum(path.suffix == ".json" for path in before) // 2
    assert len(after) == len(before) + methods


def test_only_some_methods(tmp_path: Path, folder: Path) -> None:
    settings = ContestSettings(("random",), 1, SETTINGS.meta_train)
    results = run_contest([setup()], settings, folder)
    assert set(results.rows["method"]) == {"random"}
    results = run_contest([setup(seed=1)], settings, tmp_path)
    assert set(results.rows["method"]) == {"random"}
    assert not list(tmp_path.rglob("*.safetensors"))  # nobody needed a Prior


def test_names_of_methods_are_checked_first(tmp_path: Path) -> None:
    settings = ContestSettings(("rnadom",), 1, SETTINGS.meta_train)
    with pytest.raises(ValueError, match=r"no method is called 'rnadom': choose from .*random"):
        run_contest([setup()], settings, tmp_path)
    assert not list(tmp_path.iterdir())


@dataclass
class Bad(LogisticFamily):
    """A family that cannot be learned from."""

    def __post_init__(self) -> None:
        super().__init__()

    def batch(self, num_tasks: int, num_points: int, *, seed: int) -> None:  # type: ignore[override]
        raise ArithmeticError("no tasks today")


def test_failed_training_fails_its_cells_and_no_others(tmp_path: Path) -> None:
    def broken() -> Case:
        return closed_form_case("l", Bad(), {"": None}, 1, evaluations=2, seed=0)

    results = run_contest([Setup({"case": "broken"}, broken, 0), setup(1)], SETTINGS, tmp_path)
    assert [failure["method"] for failure in results.failures] == list(OWN_METHODS)
    assert {FROM_RUNS, "metabo"} <= set(results.rows["method"])
    for failure in results.failures:
        assert failure["case"] == "broken"
        assert "no tasks today" in failure["traceback"]
    done = results.rows.drop_duplicates(["problem", "method"])
    assert set(done[done["problem"] == "l"]["method"]) >= {"random", "vanilla GP", "exact Bayes"}
    assert "metabo" in set(done[done["problem"] == "l, net"]["method"])


def test_metabo_also_learns_from_what_the_others_see() -> None:
    known = setup()
    both = known.load(), known.from_runs().load()
    assert isinstance(both[1].family, TableFamily)
    assert both[1].family.names == earlier_runs(FAMILY, seed=0).names
    assert [p.task for p in both[0].problems] == [p.task for p in both[1].problems]
    assert known.name != known.from_runs().name


def test_every_family_is_a_table_of_earlier_runs() -> None:
    table = left_out_case("d", dnase, [dnase().names[0]], evaluations=2).family
    assert earlier_runs(table, seed=0) is table
    drawn = earlier_runs(FAMILY, seed=0)
    assert isinstance(drawn, TableFamily)
    assert drawn.space == FAMILY.space
    unseen = {problem.task for problem in case(2, 0).problems}
    assert not unseen & set(drawn.names)
