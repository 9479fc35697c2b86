"""The course of a session is that of sessions that ended after each observation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from metabo import MixturePriorGP, Optimizer
from metabo.constraint import Constraint
from metabo.pages.course import course
from metabo.space import InputSpace

VALUES = [2.0, 5.0, 1.0, 4.0, 3.0]


def session(prior, values=VALUES, **settings) -> Optimizer:
    optimizer = Optimizer(prior, **settings)
    points = prior.space.to_dicts(prior.space.sample(len(values), seed=5))
    for x, y in zip(points, values, strict=True):
        optimizer.tell(x, y)
    return optimizer


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("minimize", [False, True])
def test_each_step_is_a_session_that_ended_there(
    make_prior: Callable, learned: bool, minimize: bool
) -> None:
    prior = make_prior(broad=0.1, minimize=learned)
    values = [-y for y in VALUES] if learned else VALUES  # such as the Prior expects
    steps = course(session(prior, values, minimize=minimize))
    assert [step.n for step in steps] == [0, 1, 2, 3, 4, 5]
    assert math.isnan(steps[0].best)
    assert math.isnan(steps[0].regret)
    best = np.minimum if minimize else np.maximum
    assert [step.best for step in steps[1:]] == best.accumulate(values).tolist()
    for step in steps:
        shorter = session(prior, values[: step.n], minimize=minimize)
        assert step.prior_weight == pytest.approx(float(shorter.model.prior_weight))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("minimize", [False, True])
def test_regret_is_what_the_best_of_all_is_better_by(
    make_prior: Callable, learned: bool, minimize: bool
) -> None:
    """Against NumPy's draws from the normal distribution that one component is."""
    space = InputSpace.from_bounds([[-4.0], [4.0]])
    prior = make_prior(space, num_components=1, minimize=learned)
    *_, step = course(session(prior, minimize=minimize))
    sign, better = (-1.0 if is_smaller else 1.0 for is_smaller in (learned, minimize))
    X, Y = space.sample(5, seed=5), torch.tensor(VALUES, dtype=torch.float64)[:, None]
    best = int((better * Y).argmax())
    pool = torch.cat([X[[best]], space.sample(256, seed=0)])
    posterior = MixturePriorGP(X, sign * Y, prior).posterior(pool)
    mean = better * sign * posterior.mean.squeeze(-1).numpy()
    covariance = posterior.covariance_matrix.numpy()
    draws = np.random.default_rng(0).multivariate_normal(mean, covariance, 20_000, method="eigh")
    assert step.regret == pytest.approx((draws.max(1) - draws[:, 0]).mean(), rel=0.15)


def test_long_sessions_are_told_in_part(make_prior: Callable) -> None:
    prior = make_prior(InputSpace.from_bounds([[-4.0], [4.0]]), num_components=1)
    steps = course(session(prior, [float(i % 7) for i in range(90)]))
    assert len(steps) == 41
    assert (steps[0].n, steps[-1].n) == (0, 90)


def test_what_breaks_a_constraint_is_not_the_best(make_prior: Callable) -> None:
    prior = make_prior(broad=0.1)
    optimizer = Optimizer(prior, constraints={"c": Constraint(prior, high=0.0)})
    points = prior.space.to_dicts(prior.space.sample(3, seed=5))
    for x, y, c in zip(points, (9.0, 2.0, 3.0), (1.0, -1.0, -1.0), strict=True):
        optimizer.tell(x, y, constraints={"c": c})
    steps = course(optimizer)
    assert [step.best for step in steps[2:]] == [2.0, 3.0]
    assert math.isnan(steps[1].best)
    assert all(math.isnan(step.regret) for step in steps)
