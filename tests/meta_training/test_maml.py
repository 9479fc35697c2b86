"""MAML and first-order MAML against autograd over a plain loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metabo.meta_training.learner import choose_learner
from metabo.meta_training.maml import FIRST_ORDER_MAML, MAML
from metabo.meta_training.meta_gradient import OuterLoopSettings
from metabo.meta_training.outer_loop import meta_learn
from metabo.meta_training.reptile import REPTILE
from metabo.network import MLP, stacked_output
from metabo.tasks.task import TaskBatch


def problem(steps: int = 4, tasks: int = 3) -> tuple[MLP, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = MLP(1, (6, 6), generator=generator).double()
    X = torch.randn(steps, tasks, 5, 1, generator=generator, dtype=torch.float64)
    return network, X, torch.sin(2 * X.squeeze(-1)) * torch.arange(1.0, tasks + 1)[:, None].double()


def plain_gradient(network: MLP, X: Tensor, Y: Tensor, step_size: float, first_order: bool) -> list:
    """The meta-gradient by `torch.autograd`, one task at a time."""
    total = [torch.zeros_like(w) for w in network.layers]
    for task in range(X.shape[1]):
        start = [w.detach().clone().requires_grad_() for w in network.layers]
        weights = start
        for step in range(len(X)):
            output = stacked_output(weights, X[step, task], network.activation).squeeze(-1)
            loss = (output - Y[step, task]).square().mean()
            if step < len(X) - 1:
                slopes = torch.autograd.grad(loss, weights, create_graph=not first_order)
                weights = [w - step_size * s for w, s in zip(weights, slopes, strict=True)]
        for sum_, slope in zip(total, torch.autograd.grad(loss, start), strict=True):
            sum_ += slope / X.shape[1]
    return total


@pytest.mark.parametrize("algorithm", [MAML, FIRST_ORDER_MAML])
def test_the_displacement_is_minus_the_meta_gradient(algorithm):
    network, X, Y = problem()
    weights = [w.detach() for w in network.layers]
    moved = algorithm.displacement(choose_learner(network), weights, X, Y, 0.1)
    expected = plain_gradient(network, X, Y, 0.1, first_order=algorithm is FIRST_ORDER_MAML)
    for ours, theirs in zip(moved.weights, expected, strict=True):
        torch.testing.assert_close(ours, -theirs)


def test_second_order_terms_matter():
    network, X, Y = problem()
    weights = [w.detach() for w in network.layers]
    first, second = (
        algorithm.displacement(choose_learner(network), weights, X, Y, 0.1).weights[0]
        for algorithm in (FIRST_ORDER_MAML, MAML)
    )
    assert not torch.allclose(first, second, rtol=1e-3)


@pytest.mark.parametrize("algorithm", [REPTILE, FIRST_ORDER_MAML, MAML], ids=lambda a: a.name)
def test_every_algorithm_trains_through_the_same_loop(algorithm):
    _, X, Y = problem(steps=20)
    batch = TaskBatch(
        X.transpose(0, 1).flatten(1, 2), Y.transpose(0, 1).flatten(1), torch.full((3,), 100)
    )
    network = MLP(1, (16,), generator=torch.Generator().manual_seed(0)).double()
    settings = OuterLoopSettings(100, 3, 5, 10, inner_step_size=0.05, outer_step_size=0.2)
    trained = meta_learn(algorithm, batch, network, settings, seed=0, progress=False)
    learner = choose_learner(network)
    before, after = (
        learner.adapt([w.detach() for w in net.parameters()], X, Y, 0.05).losses[5].mean()
        for net in (network, trained)
    )
    assert after < 0.8 * before
