"""Test tasks are never training tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metabo.benchmark.cases import (
    Case,
    closed_form_case,
    dnase_case,
    hpobench_case,
    left_out_case,
    logistic_case,
    soybean_case,
)
from metabo.benchmark.datasets import dnase
from metabo.benchmark.problems import Target
from metabo.tasks import LogisticFamily, TableFamily

HPO = {"num_settings": 40, "evaluations": 5}


@pytest.mark.parametrize(
    "case",
    [soybean_case(seed=1), dnase_case(seed=1), hpobench_case("car", seed=0, **HPO)],
    ids=lambda case: case.name,
)
def test_left_out_tasks_are_not_trained_on(case: Case) -> None:
    assert isinstance(case.family, TableFamily)
    judged = {e.support.name for e in case.episodes} | {p.task for p in case.problems}
    assert judged
    assert not judged & set(case.family.names)


def test_every_curve_is_left_out_for_some_seed() -> None:
    cases = [dnase_case(seed=seed) for seed in range(4)]
    judged = [problem.task for case in cases for problem in case.problems]
    assert sorted(judged) == sorted(dnase().names)
    assert len(dnase_case(2, seed=0).problems) == 2


def test_logistic_tasks_are_drawn_with_a_seed_of_their_own() -> None:
    case = logistic_case(3, 2, seed=0)
    training = case.family.tasks(3, 1, seed=0)
    unseen = [episode.support for episode in case.episodes]
    assert not {t.parameters["k"] for t in training} & {t.parameters["k"] for t in unseen}
    assert [problem.task for problem in case.problems] == 2 * [t.name for t in unseen[:2]]


def test_left_out_tasks_of_a_table_are_the_problems() -> None:
    names = dnase().names[2:5]
    case = left_out_case("assay", dnase, names, evaluations=4)
    assert isinstance(case.family, TableFamily)
    assert set(case.family.names) == set(dnase().names) - set(names)
    assert [(p.name, p.task) for p in case.problems] == [("assay", name) for name in names]


def test_every_objective_is_on_the_same_unseen_tasks() -> None:
    family = LogisticFamily()
    case = closed_form_case("l", family, {"": None, "t": Target(1)}, 3, evaluations=4, seed=0)
    assert [p.name for p in case.problems] == 3 * ["l"] + 3 * ["l, t"]
    assert [p.task for p in case.problems[:3]] == [p.task for p in case.problems[3:]]
    assert not {p.task for p in case.problems} & {t.name for t in family.tasks(3, 1, seed=0)}
    assert len(case.bound()) == 1
    assert replace(case, exact=False).bound() == []
