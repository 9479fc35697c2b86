"""The inner loop on a GPU: the kernel, and the graph."""

from __future__ import annotations

import pytest
import torch

import metabo
from metabo.meta_training.cuda_graph import adapt_by_graph
from metabo.meta_training.fused_kernel import adapt_by_kernel, can_run
from metabo.meta_training.inner_loop import adapt_layers
from metabo.meta_training.meta_train import MetaTrainSettings
from metabo.meta_training.reptile import REPTILE, ReptileSettings
from metabo.meta_training.run import Run
from metabo.network import MLP
from metabo.tasks import LogisticFamily
from metabo.tasks.task import TaskBatch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("run", [adapt_by_graph, adapt_by_kernel])
@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "sigmoid"])
@pytest.mark.parametrize("hidden", [(16, 16), (16, 48)])  # small and large products with a vector
def test_it_gives_what_the_cpu_gives_at_every_call(run, activation, hidden):
    network = MLP(1, hidden, activation, generator=torch.Generator().manual_seed(0))
    weights = [w.detach() for w in network.layers]
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        X = torch.randn(5, 4, 10, 1, generator=generator)
        Y = torch.sin(2 * X.squeeze(-1))
        cpu = adapt_layers(weights, activation, X, Y, 0.02)
        cuda = run([w.cuda() for w in weights], activation, X.cuda(), Y.cuda(), 0.02)
        torch.testing.assert_close(cuda.losses.cpu(), cpu.losses, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(cuda.layers, cpu.layers, strict=True):
            torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-5)


def test_inference_mode_at_the_first_call_does_not_bind_later_ones():
    weights = [w.detach().cuda() for w in MLP(1, (7,)).layers]
    X = torch.rand(3, 2, 5, 1, device="cuda")
    with torch.inference_mode():
        first = adapt_by_graph(weights, "tanh", X, X.squeeze(-1), 0.05)
    again = adapt_by_graph(weights, "tanh", X, X.squeeze(-1), 0.05)
    torch.testing.assert_close(again.losses, first.losses)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # by the kernel, by the graph
def test_an_outer_step_does_not_wait_for_the_device(dtype):
    X = torch.rand(10, 8, 1)
    batch = TaskBatch(X, torch.sin(4 * X.squeeze(-1)), torch.full((10,), 8))
    settings = ReptileSettings(outer_steps=4, tasks_per_step=5, inner_steps=3)
    run = Run(REPTILE, batch, MLP(1, (8,)).to(dtype), settings, 0, None, torch.device("cuda", 0))
    run.advance()  # compiles the kernel, or captures the graph
    torch.cuda.set_sync_debug_mode("error")
    try:
        run.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "sizes", [(3, 20, 33, 7), (2, 5), (1, 32, 32, 32), (9, 128, 128), (1, 128, 128, 128)]
)
@pytest.mark.parametrize("points", [1, 10, 20])
@pytest.mark.parametrize("num_tasks", [3, 300])
def test_the_kernel_serves_any_shape_that_it_admits(sizes, points, num_tasks):
    generator = torch.Generator().manual_seed(0)
    network = MLP(sizes[0], sizes[1:], generator=generator)
    weights = [w.detach() for w in network.layers]
    X = torch.randn(num_tasks, 20, points, sizes[0], generator=generator).transpose(
        0, 1
    )  # as drawn
    Y = torch.sin(2 * X.sum(-1))
    if not can_run([w.cuda() for w in weights], X.cuda()):
        pytest.skip("more than it admits")
    step_size = 0.2 / max(sizes)  # larger ones magnify what rounding leaves
    double = [w.double() for w in weights]
    exact = adapt_layers(double, "tanh", X.double(), Y.double(), step_size)
    single = [w.cuda() for w in weights]
    found = adapt_by_kernel(single, "tanh", X.cuda(), Y.cuda(), step_size)
    again = adapt_by_kernel(single, "tanh", X.cuda(), Y.cuda(), step_size)
    torch.testing.assert_close(found.losses.cpu().double(), exact.losses, rtol=1e-4, atol=1e-5)
    for ours, same, theirs in zip(found.layers, again.layers, exact.layers, strict=True):
        torch.testing.assert_close(ours.cpu().double(), theirs, rtol=1e-4, atol=1e-5)
        assert torch.equal(ours, same)


def test_meta_training_gives_the_same_prior_again(cuda):
    settings = MetaTrainSettings.smoke()
    one, other = (
        metabo.meta_train(LogisticFamily(), settings=settings, device=cuda, progress=False)
        for _ in range(2)
    )
    for ours, theirs in zip(one.network.layers, other.network.layers, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(one.mixture.means, other.mixture.means)
    assert torch.equal(one.mixture.roots, other.mixture.roots)
    assert not torch.are_deterministic_algorithms_enabled()
