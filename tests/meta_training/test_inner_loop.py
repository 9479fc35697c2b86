"""The inner loop, compiled and as operations of PyTorch, against `torch.optim.SGD` task by task."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from metabo.meta_training import fused_loop, inner_loop
from metabo.meta_training.inner_loop import adapt, adapt_layers
from metabo.network import MLP

ACTIVATIONS = ["tanh", "relu", "silu", "sigmoid"]


@pytest.fixture(params=["compiled", "PyTorch"])
def loop(request, monkeypatch):
    """Both loops: where a test asks for this, `adapt` is the one and then the other."""
    if request.param == "PyTorch":
        monkeypatch.setattr(fused_loop, "_descend_all", None)
    elif not fused_loop.is_compiled():
        pytest.skip("the inner loop is not compiled here")
    return request.param


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
@pytest.mark.usefixtures("loop")
def test_fifty_steps_equal_a_loop_over_tasks(activation):
    network = MLP(1, activation=activation, generator=torch.Generator().manual_seed(0))
    assert_equal_to_the_loop(network, *problem())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.usefixtures("loop")
def test_one_step_is_one_step_of_sgd(activation):
    network = MLP(1, activation=activation, generator=torch.Generator().manual_seed(0))
    assert_equal_to_the_loop(network, *problem(steps=1, tasks=1), tolerance=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(7,), (16, 5), (8, 8, 8, 8), (5, 120)])
@pytest.mark.parametrize("inputs", [1, 3])
def test_any_depth_width_and_input_dimension(activation, hidden, inputs, loop):
    network = MLP(inputs, hidden, activation, generator=torch.Generator().manual_seed(0))
    X, Y = problem(steps=5, tasks=3, points=4, inputs=inputs)
    assert_equal_to_the_loop(network, X, Y, tolerance=1e-5)
    if loop == "PyTorch":
        X, Y = problem(steps=5, tasks=3, points=4, inputs=inputs, dtype=torch.float64)
        assert_equal_to_the_loop(network.double(), X, Y, tolerance=1e-12)


@pytest.mark.parametrize("points", [1, 3, 17])
@pytest.mark.usefixtures("loop")
def test_few_and_many_points(points):
    assert_equal_to_the_loop(MLP(2, (6,)), *problem(steps=3, points=points, inputs=2))


@pytest.mark.usefixtures("loop")
def test_batches_need_not_be_contiguous():
    network, (X, Y) = MLP(2), problem(steps=4, tasks=3, points=5, inputs=2)
    expected = adapt(network, X, Y, 0.02)
    turned = (X.mT.contiguous().mT, Y.permute(2, 1, 0).contiguous().permute(2, 1, 0))
    repeated = (X[:1].expand(4, 3, 5, 2), Y[:1].expand(4, 3, 5))
    for (x, y), wanted in [
        (turned, expected),
        (repeated, adapt(network, *(t.contiguous() for t in repeated), 0.02)),
    ]:
        found = adapt(network, x, y, 0.02)
        torch.testing.assert_close(found.losses, wanted.losses)
        for ours, theirs in zip(found.layers, wanted.layers, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("tasks", [1, 3])
def test_the_start_need_not_be_contiguous(tasks):
    network, (X, Y) = MLP(2, (8, 7)), problem(steps=3, tasks=tasks, points=5, inputs=2)
    turned = [w.mT.contiguous().mT for w in network.layers]
    found, expected = adapt_layers(turned, "tanh", X, Y, 0.02), adapt(network, X, Y, 0.02)
    torch.testing.assert_close(found.losses, expected.losses)
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("loop")
def test_no_steps_and_shapes_that_do_not_fit():
    network, (X, Y) = MLP(1), problem(steps=2, tasks=3)
    adapted = adapt(network, X[:0], Y[:0], 0.02)
    assert adapted.losses.shape == (0, 3)
    assert all(torch.equal(w, v[0]) for w, v in zip(network.layers, adapted.layers, strict=True))
    with pytest.raises(RuntimeError):
        adapt(network, X, Y[:, :, :4], 0.02)
    with pytest.raises(RuntimeError):
        adapt(network, X.expand(2, 3, 10, 2), Y, 0.02)
    with pytest.raises(RuntimeError):  # two outputs
        adapt_layers([*network.layers[:-1], torch.randn(33, 2)], "tanh", X, Y, 0.02)
    with pytest.raises(IndexError):  # no hidden layer
        adapt_layers([torch.randn(2, 1)], "tanh", X, Y, 0.02)


@pytest.mark.usefixtures("loop")
def test_one_task_leaves_the_start_as_it_was():
    network = MLP(1)
    before = [w.detach().clone() for w in network.layers]
    adapt(network, *problem(steps=2, tasks=1), step_size=0.1)
    assert all(torch.equal(a, b) for a, b in zip(network.layers, before, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_and_threads_do_not_change_the_result(monkeypatch, threads, loop):
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
    close = {"rtol": 0.0, "atol": 0.0} if loop == "compiled" else {}  # then not by a bit
    torch.testing.assert_close(chunked.losses, whole.losses, **close)
    for ours, theirs in zip(chunked.layers, whole.layers, strict=True):
        torch.testing.assert_close(ours, theirs, **close)


def test_the_result_can_be_differentiated_through_as_any_tensor():
    adapted = adapt(MLP(1, (4,)), *problem(steps=1, tasks=2), step_size=0.02)
    w = adapted.layers[0].requires_grad_()
    w.square().sum().backward()
    assert w.grad is not None


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.usefixtures("loop")
def test_a_step_that_is_too_long_shows_in_the_losses(activation):
    X, Y = problem()
    adapted = adapt(MLP(1, activation=activation), X, Y, step_size=1e9)
    assert not adapted.losses.isfinite().all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.usefixtures("loop")
def test_what_is_not_a_number_shows_in_its_own_task(activation):
    X, Y = problem(tasks=3)
    Y[10, 1, 2] = float("nan")
    adapted = adapt(MLP(1, activation=activation), X, Y, 0.02)
    assert adapted.losses[11:, 1].isnan().all()
    assert adapted.losses[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.usefixtures("loop")
def test_units_that_are_saturated(activation):
    network = MLP(1, (16, 16), activation, generator=torch.Generator().manual_seed(0))
    X, Y = problem(steps=3)
    assert_equal_to_the_loop(network, X * 1e3, Y, step_size=1e-9)


def test_the_smallest_numbers_are_still_numbers():
    # A library that is linked for fast mathematics has the processor take them for 0, everywhere.
    adapt(MLP(1), *problem(steps=1, tasks=1), step_size=0.1)
    assert (torch.tensor([1e-40]) * 0.5).item() > 0
