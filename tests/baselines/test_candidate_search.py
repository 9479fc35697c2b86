"""Ask and tell over candidates, tried on random search, the simplest of them."""

from __future__ import annotations

import pytest
import torch
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from torch import Tensor

from metabo.baselines.candidate_search import CandidateSearch
from metabo.baselines.random_search import RandomSearch
from metabo.space import InputSpace, SpaceError

MIXED = ConfigurationSpace(seed=0)
MIXED.add([Float("rate", (1e-4, 1.0), log=True), Integer("depth", (1, 9)), Categorical("k", "abc")])
SPACE = InputSpace(MIXED, ["rate", "depth", "k"])


class First(CandidateSearch):
    """Wants the candidates in their own order."""

    def scores(self, indices: Tensor) -> Tensor:
        return -indices.double()


def test_each_candidate_is_proposed_once() -> None:
    candidates = SPACE.sample(12, seed=0)
    search = First(SPACE, candidates, num_random=4)
    rows = []
    for i in range(12):
        x = search.ask()
        search.tell(x, float(i))
        rows.append(SPACE.to_tensor(x)[0])
    torch.testing.assert_close(search.X, torch.stack(rows))
    torch.testing.assert_close(search.Y[:, 0], torch.arange(12.0, dtype=torch.float64))
    order = [int((candidates - row).abs().sum(-1).argmin()) for row in rows]
    assert sorted(order) == list(range(12))
    assert order[4:] == sorted(order[4:])
    with pytest.raises(RuntimeError, match="all 12 candidates"):
        search.ask()


def test_asking_again_changes_nothing() -> None:
    search = First(SPACE, SPACE.sample(12, seed=0), num_random=2)
    assert search.ask() == search.ask()


def test_random_starts_depend_on_the_seed_alone() -> None:
    candidates = SPACE.sample(50, seed=0)

    def starts(search: CandidateSearch) -> list[dict[str, object]]:
        asked = []
        for _ in range(3):
            asked.append(search.ask())
            search.tell(asked[-1], 0.0)
        return asked

    same = starts(First(SPACE, candidates, seed=7, num_random=3))
    assert starts(RandomSearch(SPACE, candidates, seed=7)) == same
    assert starts(RandomSearch(SPACE, candidates, seed=8)) != same


def test_points_that_are_no_candidates_may_be_told() -> None:
    search = First(SPACE, SPACE.sample(3, seed=0))
    search.tell({"rate": 0.123, "depth": 2, "k": "b"}, 1.0)
    assert search.Y.shape == (1, 1)
    assert search._open.sum() == 3


def test_bad_input_is_refused() -> None:
    candidates = SPACE.sample(3, seed=0)
    search = First(SPACE, candidates)
    with pytest.raises(ValueError, match="y is nan"):
        search.tell(search.ask(), float("nan"))
    with pytest.raises(SpaceError, match="'k'"):
        search.tell({"rate": 0.1, "depth": 1, "k": "z"}, 1.0)
    with pytest.raises(ValueError, match="candidates must be N x d"):
        First(SPACE, candidates[:0])
    with pytest.raises(SpaceError, match="candidates, row 0"):
        First(SPACE, candidates + 10)
