"""Slices and averages are what the model says at points made one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from metabo import MixturePriorGP
from metabo.pages.slices import average, slices
from metabo.prior import Prior
from metabo.space import InputSpace


def mixed_model(mixed_prior: Prior, observe: Callable, minimize: bool = False) -> MixturePriorGP:
    X, Y = observe(mixed_prior, 4)
    return MixturePriorGP(X, -Y if minimize else Y, mixed_prior)


def test_each_input_has_its_values(mixed_prior: Prior, observe: Callable) -> None:
    model = mixed_model(mixed_prior, observe)
    rate, depth, kernel = slices(model, mixed_prior.space.sample(1, seed=3)[0], sign=1.0)
    assert [s.name for s in (rate, depth, kernel)] == ["rate", "depth", "kernel"]
    assert [s.is_log for s in (rate, depth, kernel)] == [True, False, False]
    steps = rate.values.log().diff()
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))
    assert (float(rate.values[0]), float(rate.values[-1])) == pytest.approx((1e-4, 1.0))
    assert depth.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert kernel.values.tolist() == [0, 1, 2]
    assert (rate.choices, depth.choices) == (None, None)
    assert kernel.choices is not None
    assert list(kernel.choices) == ["rbf", "linear", "poly"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_slice_is_the_posterior_along_one_input(
    mixed_prior: Prior, observe: Callable, sign: float
) -> None:
    model, space = mixed_model(mixed_prior, observe, sign < 0), mixed_prior.space
    at = space.sample(1, seed=3)[0]
    _, depth, _ = slices(model, at, sign=sign, num_draws=4000)
    (point,) = space.to_dicts(at[None])
    X = torch.cat([space.to_tensor(point | {"depth": d}) for d in range(1, 7)])
    torch.testing.assert_close(depth.mean, sign * model.posterior(X).mean.squeeze(-1))
    # Bands and draws come by different ways: nine of ten draws are inside the band.
    inside = ((depth.draws >= depth.low) & (depth.draws <= depth.high)).double().mean(0)
    torch.testing.assert_close(inside, torch.full_like(inside, 0.9), atol=0.02, rtol=0)
    torch.testing.assert_close(depth.draws.mean(0), depth.mean, atol=0.15, rtol=0)


def test_draws_are_the_same_and_leave_the_users_random_numbers_alone(
    mixed_prior: Prior, observe: Callable
) -> None:
    model, at = mixed_model(mixed_prior, observe), mixed_prior.space.sample(1, seed=3)[0]
    found, states = [], []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            found.append(slices(model, at, sign=1.0, num_draws=3)[0].draws)
            states.append((before, torch.get_rng_state()))
    assert torch.equal(*found)
    assert all(torch.equal(before, after) for before, after in states)


def test_averages_are_means_over_the_other_inputs(mixed_prior: Prior, observe: Callable) -> None:
    model, space = mixed_model(mixed_prior, observe), mixed_prior.space
    found = average(model, sign=-1.0, num_values=4)
    assert {name: len(values) for name, values in found.items()} == {
        "rate": 4,
        "depth": 4,
        "kernel": 3,
    }
    for depth, expected in ((1, found["depth"][0]), (6, found["depth"][-1])):
        points = [point | {"depth": depth} for point in space.to_dicts(space.sample(64, seed=0))]
        means = torch.stack([model.posterior(space.to_tensor(point)).mean for point in points])
        assert float(expected) == pytest.approx(-float(means.mean()))


def test_an_input_that_cannot_vary_has_none(make_prior: Callable) -> None:
    import ConfigSpace as CS

    space = CS.ConfigurationSpace()
    space.add(CS.Float("x", (0.0, 1.0)), CS.CategoricalHyperparameter("same", ["always"]))
    prior = make_prior(InputSpace(space, ["same", "x"]))
    empty = prior.space.bounds[:0]
    model = MixturePriorGP(empty, empty[:, :1], prior)
    assert [s.name for s in slices(model, prior.space.sample(1, seed=0)[0], sign=1.0)] == ["x"]
    assert list(average(model, sign=1.0)) == ["x"]
