"""The network alone: adapted to all observations, and as sure as it was on training tasks."""

from __future__ import annotations

import pytest
import torch

from metabo.benchmark.adapted_network import AdaptedNetwork
from metabo.benchmark.problems import grid
from metabo.tasks import LogisticFamily

FAMILY = LogisticFamily()
TASK = FAMILY.tasks(1, 20, seed=99)[0]
QUERY = grid(FAMILY.space, 30)


@pytest.fixture(scope="module")
def method() -> AdaptedNetwork:
    return AdaptedNetwork.meta_train(FAMILY, seed=0, outer_steps=40, num_tasks=200, hidden=(16, 16))


def test_is_one_gradient_descent_from_the_networks_weights(method: AdaptedNetwork) -> None:
    network = type(method.network)(1, (16, 16))
    network.load_state_dict(method.network.state_dict())
    x = FAMILY.space.encode(TASK.X).float()
    y = ((TASK.Y - method.offset) / method.scale).float()
    optimizer = torch.optim.SGD(network.parameters(), lr=method.settings.inner_step_size)
    for _ in range(method.settings.inner_steps):
        optimizer.zero_grad()
        (network(x) - y).square().mean().backward()
        optimizer.step()
    expected = network(FAMILY.space.encode(QUERY).float())[:, 0].detach().double()
    found = method.predict(FAMILY.space, TASK.X, TASK.Y, QUERY).mean
    torch.testing.assert_close(found, method.offset + method.scale * expected, rtol=1e-3, atol=1e-4)


def test_more_observations_make_it_surer(method: AdaptedNetwork) -> None:
    widths = [
        method.predict(FAMILY.space, TASK.X[:n], TASK.Y[:n], QUERY).stddev for n in (0, 5, 20)
    ]
    assert all(bool((w == w[0]).all()) for w in widths)
    assert widths[0][0] > widths[1][0] > widths[2][0]


def test_without_observations_it_is_the_network(method: AdaptedNetwork) -> None:
    found = method.predict(FAMILY.space, TASK.X[:0], TASK.Y[:0], QUERY).mean
    output = method.network(FAMILY.space.encode(QUERY).float()).detach().double()[:, 0]
    torch.testing.assert_close(found, method.offset + method.scale * output)
