"""Meta-training on a GPU, all but the inner loop's graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metabo.meta_training.checkpoint import Checkpoint
from metabo.meta_training.held_out import HeldOut
from metabo.meta_training.maml import FIRST_ORDER_MAML, MAML
from metabo.meta_training.meta_gradient import MetaGradient, OuterLoopSettings
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.meta_training.outer_loop import meta_learn
from metabo.meta_training.records import Records
from metabo.meta_training.reptile import REPTILE
from metabo.meta_training.run import Run
from metabo.network import MLP
from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP
from metabo.tasks import LogisticFamily, TableFamily, Task
from metabo.tasks.task import TaskBatch

SETTINGS = OuterLoopSettings(60, 4, 5, 6, inner_step_size=0.05, outer_step_size=0.3)
ALGORITHMS = [REPTILE, FIRST_ORDER_MAML, MAML]


def batch() -> TaskBatch:
    X = torch.rand(12, 20, 1, generator=torch.Generator().manual_seed(1)).double()
    scale = torch.linspace(0.5, 2, 12, dtype=torch.float64)[:, None]
    return TaskBatch(X, (4 * X.squeeze(-1)).sin() * scale, torch.full((12,), 20))


@torch.no_grad()
def error(network: nn.Module) -> float:
    tasks = batch()
    return float((network(tasks.X.float()).squeeze(-1) - tasks.Y).square().mean())


def own_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 1))


def absolute(output: Tensor, y: Tensor) -> Tensor:
    return (output.squeeze(-1) - y).abs().mean()


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
@pytest.mark.parametrize("own", [False, True])
def test_every_algorithm_trains(algorithm: MetaGradient, own: bool, cuda: torch.device) -> None:
    network = own_network() if own else MLP(1, (8,), generator=torch.Generator().manual_seed(0))
    loss, before = absolute if own else None, error(network)
    trained = meta_learn(
        algorithm, batch(), network, SETTINGS, seed=0, loss=loss, device=cuda, progress=False
    )
    assert error(trained) < 0.9 * before


@pytest.mark.parametrize("own", [False, True])
def test_a_checkpoint_is_resumed(own: bool, cuda: torch.device, tmp_path) -> None:
    def begin() -> Run:
        network = own_network() if own else MLP(1, (8,), generator=torch.Generator().manual_seed(0))
        held_out = HeldOut(batch(), every=2)
        return Run(REPTILE, batch(), network, SETTINGS, 0, None, cuda, held_out)

    path = tmp_path / "run.safetensors"
    first, second = begin(), begin()
    for step in range(6):
        losses = first.advance()
        if step % 2:
            first.look(losses)
        if step == 3:
            first.checkpoint().save(path)
    assert Checkpoint.load(path, first.checkpoint().run).step == 4
    second.resume(Records(path, resume=True))
    second.advance()
    second.look(second.advance())
    for one, other in zip(
        first.weights + first.result, second.weights + second.result, strict=True
    ):
        assert one.device.type == first.generator.device.type
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def error_of(prior: Prior, family: LogisticFamily, device: torch.device | str) -> float:
    """The mean squared error after three observations, over new tasks."""
    squares = []
    for task in family.tasks(20, 23, seed=9):
        X, Y = task.X.to(device), task.Y.to(device)
        posterior = MixturePriorGP(X[:3], Y[:3], prior).posterior(X[3:])
        squares.append(float((posterior.mean - Y[3:]).square().mean()))
    return sum(squares) / len(squares)


def test_a_prior_is_as_good_as_from_the_cpu(cuda: torch.device, tmp_path) -> None:
    family, settings = LogisticFamily(), MetaTrainSettings.smoke()
    there, here = (
        meta_train(family, settings=settings, device=device, progress=False)
        for device in (cuda, "cpu")
    )
    assert there.device == torch.device("cpu")
    there.save(tmp_path / "prior")
    there = Prior.load(tmp_path / "prior")
    errors = [error_of(prior, family, cuda) for prior in (there, here)]
    assert errors[0] == pytest.approx(errors[1], rel=0.5)
    assert error_of(there, family, "cpu") == pytest.approx(errors[0], rel=1e-4)
    task = family.tasks(1, 5, seed=3)[0]
    model = MixturePriorGP(task.X.to(cuda), task.Y.to(cuda), there)
    parameters = model.parameter_posterior()
    assert list(parameters.summary().index) == ["L", "k", "x0"]
    assert all(
        v.device == model.train_targets.device for v in parameters.sample(4, seed=0).values()
    )


@pytest.mark.parametrize("num_tasks", [3, 18])  # levels, warps, shifts, effects, refinement
def test_tables(num_tasks: int, cuda: torch.device) -> None:
    space = LogisticFamily().space
    X = space.sample(12, seed=0)
    tasks = [
        Task(str(i), space, X.to(cuda), (i + 1) * (X - 0.1 * i).sin().exp().to(cuda))
        for i in range(num_tasks)
    ]
    settings = MetaTrainSettings.smoke()
    prior = meta_train(TableFamily(tasks, space), settings=settings, device=cuda, progress=False)
    model = MixturePriorGP(X[:3].to(cuda), tasks[0].Y[:3].to(cuda), prior)
    assert model.posterior(X.to(cuda)).mean.isfinite().all()
