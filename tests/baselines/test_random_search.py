"""Random search."""

from __future__ import annotations

import torch

from metabo.baselines.random_search import RandomSearch
from metabo.space import InputSpace

SPACE = InputSpace.from_bounds((0, 9))
GRID = torch.arange(10, dtype=torch.float64).unsqueeze(-1)


def visited(seed: int) -> list[float]:
    search = RandomSearch(SPACE, GRID, seed=seed)
    order = []
    for _ in GRID:
        x = search.ask()
        order.append(x["x"])
        search.tell(x, 0.0)
    return order


def test_every_order_is_as_likely() -> None:
    orders = [visited(seed) for seed in range(200)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    first = torch.tensor([order[0] for order in orders]).long().bincount(minlength=10)
    # 20 each are expected; a binomial count is outside 5..40 once in 100,000 draws.
    assert first.min() > 5
    assert first.max() < 40
