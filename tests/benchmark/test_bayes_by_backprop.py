"""Bayes by Backprop through Reptile's general path."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from metabo.benchmark.bayes_by_backprop import BayesByBackprop, evidence_loss
from metabo.benchmark.problems import grid
from metabo.meta_training.reptile import ReptileSettings
from metabo.tasks import LogisticFamily

FAMILY = LogisticFamily()
TASK = FAMILY.tasks(1, 20, seed=99)[0]
QUERY = grid(FAMILY.space, 30)


@pytest.fixture(scope="module")
def method() -> BayesByBackprop:
    settings = ReptileSettings(30, 8, 5, 10, 0.05)
    trained = BayesByBackprop.meta_train(
        FAMILY, seed=0, num_tasks=100, hidden=(8, 8), settings=settings
    )
    return replace(trained, tasks=trained.tasks.select(slice(8)))


def test_the_loss_is_the_evidence_bound_in_other_units() -> None:
    y, draws, divergence = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([0.4, 0.0, 2.5]), 7.0
    bound = Normal(draws, 0.2).log_prob(y).sum() - divergence
    constant = Normal(y, 0.2).log_prob(y).sum()
    output = torch.stack([draws, torch.full((3,), divergence)], -1)
    expected = (constant - bound) * 2 * 0.2**2 / 3
    torch.testing.assert_close(evidence_loss(0.2, output, y), expected)


def test_reptile_trains_it(method: BayesByBackprop) -> None:
    """Before any observation it predicts the mean curve better than what it started from."""
    untrained = BayesByBackprop.meta_train(
        FAMILY, seed=0, num_tasks=100, hidden=(8, 8), settings=ReptileSettings(1, 8, 1, 10, 1e-9)
    )
    tasks = FAMILY.tasks(200, 1, seed=7)
    mean_curve = torch.stack([task.function(QUERY)[:, 0] for task in tasks]).mean(0)
    errors = [
        (own.predict(FAMILY.space, TASK.X[:0], TASK.Y[:0], QUERY).mean - mean_curve).square().mean()
        for own in (replace(m, own_noise=True) for m in (method, untrained))
    ]
    assert errors[0] < 0.5 * errors[1]


def test_predictions_are_the_users_units_and_repeat(method: BayesByBackprop) -> None:
    first, again = (method.predict(FAMILY.space, TASK.X, TASK.Y, QUERY) for _ in range(2))
    assert first.batch_shape == (30,)
    torch.testing.assert_close(first.mean, again.mean)
    assert (first.mean - TASK.function(QUERY)[:, 0]).square().mean() < TASK.Y.var()


def test_its_own_noise_is_what_the_loss_assumes(method: BayesByBackprop) -> None:
    own = replace(method, own_noise=True).predict(FAMILY.space, TASK.X[:3], TASK.Y[:3], QUERY)
    deviations = own.component_distribution.stddev
    torch.testing.assert_close(deviations, torch.full_like(deviations, 0.1 * method.scale))
