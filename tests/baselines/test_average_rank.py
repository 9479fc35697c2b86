"""The order by average rank against pandas."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from metabo.baselines.average_rank import AverageRankSearch, average_ranks
from metabo.baselines.earlier_runs import EarlierRuns
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

SPACE = InputSpace.from_bounds((0, 11))
X = torch.arange(12, dtype=torch.float64).unsqueeze(-1)
GENERATOR = torch.Generator().manual_seed(0)
VALUES = torch.randint(0, 6, (4, 12), generator=GENERATOR).double()  # with ties
FAMILY = TableFamily(
    [Task(str(i), SPACE, X, 10.0**i * row.unsqueeze(-1)) for i, row in enumerate(VALUES)], SPACE
)


def order(search: AverageRankSearch) -> list[float]:
    for _ in range(12):
        search.tell(search.ask(), 0.0)
    return search.X[:, 0].tolist()


def test_ranks_are_those_of_pandas() -> None:
    expected = pd.DataFrame(VALUES.numpy()).rank(axis=1, ascending=False).mean(axis=0)
    torch.testing.assert_close(average_ranks(VALUES), torch.tensor(expected.to_numpy()))


def test_candidates_come_in_the_order_of_their_ranks() -> None:
    ranks = pd.DataFrame(VALUES.numpy()).rank(axis=1, ascending=False).mean(axis=0)
    found = order(AverageRankSearch(EarlierRuns(FAMILY), X))
    assert sorted(found) == list(range(12))
    assert ranks[found].is_monotonic_increasing


def test_the_objective_is_what_is_ranked() -> None:
    def profit(Y: Tensor, X: Tensor) -> Tensor:
        return -Y[..., 0] - 2.0 * X[..., 0]

    runs = EarlierRuns(FAMILY)
    frame = pd.DataFrame(-runs.values(X).numpy() - 2.0 * X[:, 0].numpy())
    ranks = frame.rank(axis=1, ascending=False).mean(axis=0)
    found = order(AverageRankSearch(runs, X, objective=profit))
    assert ranks[found].is_monotonic_increasing
    assert found != order(AverageRankSearch(runs, X))
