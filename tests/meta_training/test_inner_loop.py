"""The stacked inner loop against `torch.optim.SGD`, one task at a time."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from metabo.meta_training import inner_loop
from metabo.meta_training.inner_loop import adapt
from metabo.network import MLP

ACTIVATIONS = ["tanh", "relu", "silu", "sigmoid"]


def loop_over_tasks(network: MLP, X: Tensor, Y: Tensor, step_size: float) -> tuple[list, Tensor]:
    """What `adapt` must equal: autograd and `torch.optim.SGD`, task by task."""
    finals, losses = [], []
    for task in range(X.shape[1]):
        own = copy.deepcopy(network)
        optimizer = torch.optim.SGD(own.parameters(), lr=step_size)
        losses.append([])
        for x, y in zip(X[:, task], Y[:, task], strict=True):
            loss = torch.nn.functional.mse_loss(own(x).squeeze(-1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.detach())
        finals.append([w.detach() for w in own.layers])
    layers = [torch.stack(ws) for ws in zip(*finals, strict=True)]
    return layers, torch.stack([torch.stack(row) for row in losses]).T


def problem(steps=50, tasks=6, points=10, inputs=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(steps, tasks, points, inputs, generator=generator, dtype=dtype)
    slope = torch.randn(tasks, 1, generator=generator, dtype=dtype)
    return X, torch.sin(2 * X.sum(-1)) * slope


def assert_equal_to_the_loop(network: MLP, X: Tensor, Y: Tensor, step_size=0.02, tolerance=1e-5):
    layers, losses = loop_over_tasks(network, X, Y, step_size)
    adapted = adapt(network, X, Y, step_size)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(adapted.losses, losses, **close)
    for ours, theirs in zip(adapted.layers, layers, strict=True):
        torch.testing.assert_close(ours, theirs, **close)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fifty_steps_equal_a_loop_over_tasks(activation):
    network = MLP(1, activation=activation, generator=torch.Generator().manual_seed(0))
    assert_equal_to_the_loop(network, *problem())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_step_is_one_step_of_sgd(activation):
    network = MLP(1, activation=activation, generator=torch.Generator().manual_seed(0))
    assert_equal_to_the_loop(network, *problem(steps=1, tasks=1), tolerance=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(7,), (16, 5), (8, 8, 8, 8), (5, 120)])
@pytest.mark.parametrize("inputs", [1, 3])
def test_any_depth_width_and_input_dimension(activation, hidden, inputs):
    network = MLP(inputs, hidden, activation, generator=torch.Generator().manual_seed(0)).double()
    X, Y = problem(steps=5, tasks=3, points=4, inputs=inputs, dtype=torch.float64)
    assert_equal_to_the_loop(network, X, Y, tolerance=1e-12)


@pytest.mark.parametrize("points", [1, 3])
def test_few_points(points):
    assert_equal_to_the_loop(MLP(2, (6,)), *problem(steps=3, points=points, inputs=2))


def test_one_task_leaves_the_start_as_it_was():
    network = MLP(1)
    before = [w.detach().clone() for w in network.layers]
    adapt(network, *problem(steps=2, tasks=1), step_size=0.1)
    assert all(torch.equal(a, b) for a, b in zip(network.layers, before, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_and_threads_do_not_change_the_result(monkeypatch, threads):
    network, (X, Y) = MLP(1, (8, 8)), problem(tasks=7)
    whole = adapt(network, X, Y, 0.02)
    monkeypatch.setattr(inner_loop, "CACHE_BYTES", 5000)
    monkeypatch.setattr(inner_loop, "THREAD_BYTES", 1)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        cut = inner_loop.chunks(list(network.layers), X, threads)
        chunked = adapt(network, X, Y, 0.02)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads_before)
    assert len(cut) > 2
    assert [i for part in cut for i in range(7)[part]] == list(range(7))
    torch.testing.assert_close(chunked.losses, whole.losses)
    for ours, theirs in zip(chunked.layers, whole.layers, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_result_can_be_differentiated_through_as_any_tensor():
    adapted = adapt(MLP(1, (4,)), *problem(steps=1, tasks=2), step_size=0.02)
    w = adapted.layers[0].requires_grad_()
    w.square().sum().backward()
    assert w.grad is not None


def test_a_step_that_is_too_long_shows_in_the_losses():
    adapted = adapt(MLP(1), *problem(), step_size=50.0)
    assert not adapted.losses.isfinite().all()
