"""A network fitted to all observations of few but long tasks."""

import torch
from torch import Tensor

from metabo.meta_training.features import FeatureSettings, meta_learned, train_features
from metabo.meta_training.regression import regress
from metabo.network import MLP
from metabo.tasks.task import TaskBatch


def function(X: Tensor) -> Tensor:
    return (2 * X[..., 0]).sin() + X[..., 1].abs()


def tasks(num_tasks: int, points: int, *, outlier: float = 0.0) -> TaskBatch:
    """Tasks that differ by an offset; those of the first are the fewest."""
    generator = torch.Generator().manual_seed(0)
    X = 2 * torch.rand(num_tasks, points, 2, generator=generator).double() - 1
    Y = function(X) + 0.2 * torch.arange(num_tasks)[:, None]
    Y[:, 0] = outlier
    counts = torch.full((num_tasks,), points)
    counts[0] = points // 4
    mask = torch.arange(points) < counts[:, None]
    return TaskBatch(X, torch.where(mask, Y, 0.0), counts)


def network() -> MLP:
    return MLP(2, (32, 32), generator=torch.Generator().manual_seed(1))


def new_points() -> Tensor:
    return 2 * torch.rand(500, 2, generator=torch.Generator().manual_seed(9)) - 1


def test_finds_the_mean_function_and_leaves_the_start_alone() -> None:
    start, X = network(), new_points()
    before = [layer.clone() for layer in start.layers]
    found = regress(start, tasks(3, 2000), 500, seed=0)
    # Each task counts for as much, however long it is.
    error = found(X).squeeze(-1) - (function(X) + 0.2)
    assert error.square().mean().sqrt() < 0.1
    assert all(torch.equal(a, b) for a, b in zip(before, start.layers, strict=True))
    assert not any(layer.requires_grad for layer in found.layers)
    again = regress(start, tasks(3, 2000), 500, seed=0)
    assert torch.equal(found(X), again(X))


def test_ranks_are_resolved_where_outliers_rule_the_error() -> None:
    def best_of_features(found: MLP) -> float:
        """How much of the ranks a linear map of the features explains."""
        X = new_points()
        features, goal = found.features(X), function(X).argsort().argsort().float()
        head = torch.linalg.lstsq(features, goal[:, None]).solution
        left = goal - (features @ head).squeeze(-1)
        return float(1 - left.var() / goal.var())

    far = regress(network(), tasks(3, 2000, outlier=-100.0), 500, seed=0)
    assert best_of_features(far) > 0.9


def test_only_few_and_long_tasks_are_fitted_so() -> None:
    settings = FeatureSettings(hidden=(8,), reptile=None)
    start = MLP(2, (8,), generator=torch.Generator().manual_seed(0)).double()
    for points, fitted in ((8, False), (400, True)):
        seen = tasks(3, points)
        network = meta_learned(seen, settings, seed=0, progress=False)
        found = train_features(network, seen, None, settings, seed=0, progress=False).network
        assert torch.equal(found.layers[0], start.layers[0]) == (not fitted)


def test_a_network_in_double_precision_is_fitted_too() -> None:
    found = regress(network().double(), tasks(3, 40), 3, seed=0)
    expected = regress(network(), tasks(3, 40), 3, seed=0)
    for one, other in zip(found.layers, expected.layers, strict=True):
        torch.testing.assert_close(one, other)
