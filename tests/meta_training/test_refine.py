"""Refinement of features by the marginal likelihood."""

import copy
from dataclasses import replace

import pytest
import torch

from metabo.meta_training.refine import Refined, RefineSettings, refine
from metabo.mixture import HeadTasks, log_likelihood
from metabo.network import MLP
from metabo.tasks import LogisticFamily
from metabo.tasks.task import TaskBatch

SETTINGS = RefineSettings(steps=40, tasks_per_step=16, points_per_task=8)


def tasks(num_tasks: int, seed: int, points: int = 8) -> TaskBatch:
    family = LogisticFamily()
    raw = family.batch(num_tasks, points, seed=seed)
    return TaskBatch(family.space.encode(raw.X), (raw.Y - 3) / 3, raw.counts)


def network() -> MLP:
    return MLP(1, (8, 8), generator=torch.Generator().manual_seed(0)).double()


def likelihood(refined: Refined, tasks: TaskBatch) -> float:
    """Mean log likelihood of an observation under what was found."""
    features = refined.network.features(tasks.X)
    found = HeadTasks(features, tasks.X, tasks.Y, tasks.mask, refined.mean, refined.root)
    return (log_likelihood(found, refined.remainder) / tasks.counts).mean().item()


@pytest.fixture(scope="module")
def data() -> tuple[TaskBatch, TaskBatch]:
    return tasks(64, seed=0), tasks(16, seed=1)


def test_raises_the_likelihood_of_left_out_tasks(data: tuple[TaskBatch, TaskBatch]) -> None:
    few = refine(network(), *data, replace(SETTINGS, steps=1), seed=0, progress=False)
    many = refine(network(), *data, SETTINGS, seed=0, progress=False)
    assert many.evidence > few.evidence + 0.1
    assert likelihood(many, data[1]) == pytest.approx(many.evidence)


def test_the_given_network_is_not_changed(data: tuple[TaskBatch, TaskBatch]) -> None:
    given = network()
    before = copy.deepcopy(given.state_dict())
    refined = refine(given, *data, replace(SETTINGS, steps=3), seed=0, progress=False)
    for name, value in given.state_dict().items():
        assert torch.equal(value, before[name])
    assert not torch.equal(refined.network.layers[0], given.layers[0])
    assert not any(p.requires_grad for p in refined.network.parameters())


def test_features_can_be_frozen(data: tuple[TaskBatch, TaskBatch]) -> None:
    given = network()
    settings = replace(SETTINGS, steps=3, feature_step_size=0.0)
    refined = refine(given, *data, settings, seed=0, progress=False)
    for layer, old in zip(refined.network.layers, given.layers, strict=True):
        assert torch.equal(layer, old)
    assert not torch.equal(refined.mean, given.layers[-1].squeeze(-1))


def test_the_seed_decides(data: tuple[TaskBatch, TaskBatch]) -> None:
    settings = replace(SETTINGS, steps=3)
    first, second, other = (
        refine(network(), *data, settings, seed=seed, progress=False) for seed in (0, 0, 1)
    )
    assert torch.equal(first.root, second.root)
    assert not torch.equal(first.root, other.root)


def test_stops_where_left_out_tasks_are_explained_best(data: tuple[TaskBatch, TaskBatch]) -> None:
    wild = replace(SETTINGS, step_size=3.0, feature_step_size=3.0, patience=2)
    refined = refine(network(), *data, wild, seed=0, progress=False)
    first = refine(network(), *data, replace(wild, steps=2), seed=0, progress=False)
    assert likelihood(refined, data[1]) == pytest.approx(refined.evidence)
    assert refined.evidence > first.evidence - 100


def test_ragged_tasks_and_constant_outputs() -> None:
    few = tasks(6, seed=0)
    counts = torch.tensor([1, 2, 3, 8, 8, 5])
    mask = torch.arange(8) < counts[:, None]
    ragged = TaskBatch(few.X, few.Y * mask, counts)
    constant = TaskBatch(few.X, torch.zeros_like(few.Y), few.counts)
    for given in (ragged, constant):
        refined = refine(
            network(), given, given, replace(SETTINGS, steps=5), seed=0, progress=False
        )
        assert torch.tensor(refined.evidence).isfinite()
        assert refined.remainder.noise > 0
