"""Earlier runs against pandas and brute force."""

from __future__ import annotations

import pandas as pd
import torch
from ConfigSpace import Categorical, ConfigurationSpace, Float

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

CONFIGURATIONS = ConfigurationSpace()
CONFIGURATIONS.add([Float("rate", (1e-4, 1.0), log=True), Categorical("k", "abc")])
SPACE = InputSpace(CONFIGURATIONS, ["rate", "k"])


def task(name: str, n: int, seed: int) -> Task:
    X = SPACE.sample(n, seed=seed)
    noise = torch.randn(n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Task(name, SPACE, X, seed + 2.0 * noise)


FAMILY = TableFamily([task("a", 20, 1), task("b", 30, 2)], SPACE)


def test_values_are_those_of_the_nearest_points() -> None:
    candidates = SPACE.sample(15, seed=9)
    runs = EarlierRuns(FAMILY)
    codes = SPACE.encode(candidates)
    for found, earlier in zip(runs.values(candidates), FAMILY.tasks(), strict=True):
        distances = torch.cdist(codes, SPACE.encode(earlier.X))
        torch.testing.assert_close(found, earlier.Y[distances.argmin(-1), 0])
    assert not runs.are_matched(candidates)


def test_repeated_measurements_are_averaged() -> None:
    first = task("a", 8, 1)
    X, Y = torch.cat([first.X, first.X[:5]]), torch.cat([first.Y, first.Y[:5] + 3.0])
    runs = EarlierRuns(TableFamily([Task("a", SPACE, X, Y)], SPACE))
    frame = pd.DataFrame({"rate": X[:, 0], "k": X[:, 1], "y": Y[:, 0]})
    means = frame.groupby(["rate", "k"])["y"].mean()
    expected = [means.loc[tuple(row)] for row in first.X.tolist()]
    torch.testing.assert_close(runs.values(first.X)[0], torch.tensor(expected).double())
    assert runs.are_matched(first.X)


def test_other_candidates_are_looked_up_anew() -> None:
    runs = EarlierRuns(FAMILY)
    one, other = SPACE.sample(5, seed=1), SPACE.sample(5, seed=2)
    first = runs.values(one)
    assert not torch.equal(first, runs.values(other))
    torch.testing.assert_close(runs.values(one), first)


def test_samples_are_standardised_by_the_whole_task() -> None:
    runs = EarlierRuns(FAMILY, seed=3)
    for drawn, earlier in zip(runs.sample(25), FAMILY.tasks(), strict=True):
        assert len(drawn) == min(25, len(earlier))
        y = pd.Series(earlier.Y[:, 0].numpy())
        expected = (y - y.mean()) / y.std(ddof=0)
        rows = (drawn.X.unsqueeze(1) == earlier.X).all(-1).double().argmax(-1)
        torch.testing.assert_close(drawn.Y[:, 0], torch.tensor(expected.to_numpy())[rows])
    again = EarlierRuns(FAMILY, seed=3).sample(25)
    assert all(map(torch.equal, [t.X for t in again], [t.X for t in runs.sample(25)]))


def test_a_constant_task_has_scale_one() -> None:
    flat = Task("c", SPACE, SPACE.sample(4, seed=0), torch.full((4, 1), 0.3))
    runs = EarlierRuns(TableFamily([flat], SPACE))
    assert runs.scales.tolist() == [1.0]
    assert (runs.sample(4)[0].Y.abs() < 1e-6).all()


def test_there_is_a_limit_on_tasks() -> None:
    assert len(EarlierRuns(FAMILY, max_tasks=1)) == 1
