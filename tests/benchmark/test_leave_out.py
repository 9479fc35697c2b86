"""Whether a prior is worth it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metabo.benchmark.leave_out import a_part, judge, leave_out
from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.heads import HeadSettings
from metabo.meta_training.meta_train import MetaTrainSettings
from metabo.meta_training.reptile import ReptileSettings
from metabo.tasks import TableFamily


def rows(metabo: float, vanilla: float, random: float, num_tasks: int = 12) -> pd.DataFrame:
    """Regrets around these means, with tasks that are harder and easier for all."""
    generator = np.random.default_rng(0)
    made = []
    for task in range(num_tasks):
        luck = generator.normal(scale=0.02)
        for method, mean in {"metabo": metabo, "vanilla GP": vanilla, "random": random}.items():
            for n in (1, 2):
                regret = mean / n + luck + generator.normal(scale=0.01)
                made.append({"task": str(task), "method": method, "n": n, "regret": regret})
    return pd.DataFrame(made)


@pytest.mark.parametrize(
    ("regrets", "answer", "baseline"),
    [
        ((0.1, 0.3, 0.4), "worth it", "vanilla GP"),
        ((0.3, 0.4, 0.1), "not worth it", "random"),
        ((0.2, 0.2, 0.4), "not clear", "vanilla GP"),
    ],
)
def test_judge(regrets: tuple[float, float, float], answer: str, baseline: str) -> None:
    verdict = judge(rows(*regrets))
    assert (verdict.answer, verdict.baseline, verdict.num_tasks) == (answer, baseline, 12)


def test_a_few_tasks_are_never_clear() -> None:
    assert judge(rows(0.1, 0.9, 0.9, num_tasks=4)).answer == "not clear"


TINY = MetaTrainSettings(
    features=FeatureSettings(
        hidden=(8,), reptile=ReptileSettings(outer_steps=30, inner_steps=5, points_per_step=8)
    ),
    heads=HeadSettings(num_components=(1,)),
)


def test_a_part_of_very_many_runs() -> None:
    counts = [30] * 5 + [2] * 200
    task = np.repeat(np.arange(205), counts)
    x = np.arange(len(task)) / len(task)
    frame = pd.DataFrame({"task": task, "x": x, "y": 2 * x})
    family = TableFamily.from_frame(frame, task="task", output="y", minimize=True)
    settings = MetaTrainSettings(num_tasks=110, table_points_per_task=10)
    part = a_part(family, settings, seed=0)
    assert part.minimize
    assert len(part) == 150  # with 40 to optimise
    assert {len(task) for task in part.tasks()} == {2, 10}
    for task in part.tasks():  # its own runs, none twice
        (whole,) = family.only(task.name).tasks()
        assert {*task.X[:, 0].tolist()} <= {*whole.X[:, 0].tolist()}
        assert len({*task.X[:, 0].tolist()}) == len(task)
        assert (task.Y == -2 * task.X).all()
    assert a_part(family, settings, seed=0).names == part.names
    assert a_part(family, settings, seed=1).names != part.names
    few = a_part(family, MetaTrainSettings(), seed=0)
    assert few.names == family.names


@pytest.mark.slow
def test_a_family_with_one_optimum_is_worth_a_prior() -> None:
    """All tasks are best at x = 3; only a prior can know that before the first evaluation."""
    x = np.tile(np.linspace(0, 10, 12), 6)
    task = np.repeat(np.arange(6), 12)
    y = (1 + 0.1 * task) * (x - 3) ** 2
    frame = pd.DataFrame({"task": task, "x": x, "y": y})
    found = leave_out(
        TableFamily.from_frame(frame, task="task", output="y", minimize=True),
        settings=TINY,
        evaluations=4,
        repeats=1,
        seed=0,
        jobs=1,
    )
    first = found[(found["method"] == "metabo") & (found["n"] == 1)]
    assert first["regret"].max() < 0.05
    assert judge(found).answer == "worth it"
