"""Test tasks are never training tasks."""

from __future__ import annotations

import pytest

from metabo.benchmark.cases import Case, dnase_case, hpobench_case, logistic_case, soybean_case
from metabo.benchmark.datasets import dnase
from metabo.tasks import TableFamily

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


def test_hpobench_can_go_without_predictions() -> None:
    assert hpobench_case("car", seed=0, predict=False, **HPO).episodes == []
