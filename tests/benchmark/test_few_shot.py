"""Episodes: what is seen and what is scored; and the scores of a method that is right."""

from __future__ import annotations

import pytest
import torch

from metabo.benchmark.few_shot import few_shot, grid_episode, table_episode
from metabo.benchmark.methods import Exact, VanillaGP
from metabo.space import InputSpace
from metabo.tasks import LogisticFamily, Task

FAMILY = LogisticFamily()
TABLE = Task(
    "t",
    InputSpace.from_bounds((0, 9)),
    torch.arange(10.0).unsqueeze(-1),
    torch.arange(10.0).unsqueeze(-1) ** 2,
)


def test_support_and_query_of_a_table_are_disjoint() -> None:
    episode = table_episode(TABLE, 4, seed=0)
    seen, scored = episode.support.X[:, 0].tolist(), episode.X[:, 0].tolist()
    assert len(seen) == 4
    assert sorted(seen + scored) == list(range(10))
    assert episode.truth.tolist() == episode.Y.tolist() == [x**2 for x in scored]
    assert seen != table_episode(TABLE, 4, seed=1).support.X[:, 0].tolist()
    with pytest.raises(ValueError, match="10 observations: too few for 10"):
        table_episode(TABLE, 10, seed=0)


def test_a_grid_is_scored_against_the_truth_and_against_new_data() -> None:
    task = FAMILY.tasks(1, 5, seed=0)[0]
    episode = grid_episode(task, noise_sd=0.05, num_points=2000)
    torch.testing.assert_close(episode.truth, task.function(episode.X)[:, 0])
    noise = episode.Y - episode.truth
    assert noise.std().item() == pytest.approx(0.05, abs=0.005)
    with pytest.raises(ValueError, match="table_episode"):
        grid_episode(TABLE, noise_sd=0.0)


def test_exact_bayes_is_calibrated_and_better_than_the_vanilla_gp() -> None:
    tasks = FAMILY.tasks(8, 5, seed=1)
    episodes = [grid_episode(t, noise_sd=0.05, seed=i) for i, t in enumerate(tasks)]
    exact = [few_shot("p", Exact(FAMILY), e, (1, 5), seed=0) for e in episodes]
    vanilla = [few_shot("p", VanillaGP(), e, (1, 5), seed=0) for e in episodes]
    assert [row["n"] for row in exact[0]] == [1, 5]
    assert exact[0][0].keys() == vanilla[0][0].keys()
    for i in (0, 1):
        mean = {
            (name, key): sum(rows[i][key] for rows in runs) / 8
            for name, runs in {"exact": exact, "vanilla": vanilla}.items()
            for key in ("squared_error", "negative_log_density", "coverage")
        }
        assert mean["exact", "squared_error"] < 0.5 * mean["vanilla", "squared_error"]
        assert mean["exact", "negative_log_density"] < mean["vanilla", "negative_log_density"]
        assert 0.7 < mean["exact", "coverage"] < 1.0
