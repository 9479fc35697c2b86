"""The general inner loop against the written-out one, and with networks of the user's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metabo.meta_training.autograd_loop import adapt_weights, descend, task_loss
from metabo.meta_training.held_out import HeldOut
from metabo.meta_training.inner_loop import adapt
from metabo.meta_training.learner import choose_learner
from metabo.meta_training.maml import FIRST_ORDER_MAML, MAML
from metabo.meta_training.meta_gradient import MetaGradient, OuterLoopSettings
from metabo.meta_training.outer_loop import meta_learn
from metabo.meta_training.reptile import REPTILE
from metabo.network import MLP
from metabo.tasks.task import TaskBatch


def problem(steps: int = 5, tasks: int = 4, points: int = 6, inputs: int = 2):
    generator = torch.Generator().manual_seed(2)
    X = torch.randn(steps, tasks, points, inputs, generator=generator, dtype=torch.float64)
    return X, torch.sin(X.sum(-1)) * torch.linspace(0.5, 2, tasks, dtype=torch.float64)[:, None]


def sequential() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 1)).double()


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "sigmoid"])
def test_equals_the_written_out_loop(activation):
    network = MLP(2, (8, 8), activation, generator=torch.Generator().manual_seed(0)).double()
    X, Y = problem()
    general = adapt_weights(task_loss(network), list(network.parameters()), X, Y, 0.05)
    written_out = adapt(network, X, Y, 0.05)
    torch.testing.assert_close(general.losses, written_out.losses)
    for ours, theirs in zip(general.layers, written_out.layers, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_any_module_and_loss_equal_a_loop_with_sgd():
    network, loss = sequential(), lambda output, y: (output.squeeze(-1) - y).abs().mean()
    X, Y = problem()
    learner = choose_learner(network, loss)
    adapted = learner.adapt([w.detach() for w in network.parameters()], X, Y, 0.05)
    for task in range(4):
        own = sequential()
        optimizer = torch.optim.SGD(own.parameters(), lr=0.05)
        for step in range(5):
            optimizer.zero_grad()
            value = loss(own(X[step, task]), Y[step, task])
            value.backward()
            optimizer.step()
            torch.testing.assert_close(adapted.losses[step, task], value.detach())
        for stack, final in zip(adapted.layers, own.parameters(), strict=True):
            torch.testing.assert_close(stack[task], final.detach())


def test_second_order_gradients_go_through_the_steps():
    network = MLP(2, (4,), generator=torch.Generator().manual_seed(0)).double()
    loss = task_loss(network)
    X, Y = problem(steps=3, tasks=1)
    x, y = X[:, 0], Y[:, 0]

    def after(*weights):
        return loss(descend(loss, list(weights), x, y, 0.1, first_order=False)[0], x[0], y[0])

    weights = [w.detach().clone().requires_grad_() for w in network.parameters()]
    assert torch.autograd.gradcheck(after, weights)


def test_reptile_trains_a_module_of_the_user():
    X, Y = problem(steps=1, tasks=8, points=20)
    batch = TaskBatch(X[0], Y[0], torch.full((8,), 20))
    network = sequential()
    settings = OuterLoopSettings(20, 8, 5, 10, inner_step_size=0.05)
    trained = meta_learn(REPTILE, batch, network, settings, seed=0, progress=False)

    def mean_loss(net: nn.Module) -> torch.Tensor:
        return (net(X[0]).squeeze(-1) - Y[0]).square().mean()

    assert isinstance(trained, nn.Sequential)
    assert mean_loss(trained) < 0.7 * mean_loss(network)


def test_a_network_may_draw_random_numbers_each_task_its_own():
    """One step on (w + s e - y)^2 ends at w - 2 a (w + s e - y): mean and deviation are known."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight + 0.5 * torch.randn_like(x[:1]) + 0 * x

    X = torch.zeros(1, 4000, 1, 1, dtype=torch.float64)
    network = Noisy()
    learner = choose_learner(network)
    torch.manual_seed(0)
    (weights,) = learner.adapt([network.weight.detach()], X, X[..., 0] + 1.0, 0.1).layers
    torch.testing.assert_close(
        weights.mean(), torch.tensor(3 - 0.2 * 2.0).double(), atol=0.01, rtol=0
    )
    torch.testing.assert_close(weights.std(), torch.tensor(0.1).double(), rtol=0.05, atol=0)


def test_what_is_frozen_stays_and_the_rest_is_trained() -> None:
    network = sequential()
    network[0].requires_grad_(False)
    X, Y = torch.rand(6, 8, 2), torch.rand(6, 8)
    tasks = TaskBatch(X, Y, torch.full((6,), 8))
    settings = OuterLoopSettings(outer_steps=2, tasks_per_step=2, inner_steps=2, points_per_step=4)
    found = meta_learn(REPTILE, tasks, network, settings, seed=0, device="cpu", progress=False)
    moved = {
        name: not torch.equal(weight, network.get_parameter(name))
        for name, weight in found.named_parameters()
    }
    assert moved == {name: not name.startswith("0.") for name in moved}
    with pytest.raises(ValueError, match="no parameters"):
        meta_learn(REPTILE, tasks, nn.Flatten(), settings, seed=0, device="cpu", progress=False)


@pytest.mark.parametrize("algorithm", [REPTILE, FIRST_ORDER_MAML, MAML])
def test_dropout_and_a_single_number_as_weight(algorithm: MetaGradient) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.2), nn.Linear(8, 1))
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * self.body(x)

    torch.manual_seed(0)
    network = Scaled()
    tasks = TaskBatch(torch.rand(6, 8, 2), torch.rand(6, 8), torch.full((6,), 8))
    settings = OuterLoopSettings(outer_steps=2, tasks_per_step=2, inner_steps=2, points_per_step=4)
    held_out = HeldOut(tasks, every=1)
    found = meta_learn(
        algorithm, tasks, network, settings, seed=0, device="cpu", progress=False, held_out=held_out
    )
    assert found.scale != network.scale
