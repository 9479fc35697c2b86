"""The expected improvement over the incumbent, against brute force."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from botorch.exceptions.errors import UnsupportedError
from botorch.models.transforms.input import Normalize
from botorch.sampling import SobolQMCNormalSampler
from torch import Size, Tensor

from metabo.objective import affine, negative, response
from metabo.prior import Prior
from metabo.surrogates import LogIncumbentImprovement, MixturePriorGP
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def model(make_prior: Callable[..., Prior], observe: Observe) -> MixturePriorGP:
    prior = make_prior()
    return MixturePriorGP(*observe(prior, 3), prior)


def monte_carlo(
    model: MixturePriorGP, X: Tensor, value: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The improvement of each point over the incumbent, by joint draws of the pair."""
    seen = model.train_inputs[0]
    draws = model.posterior(seen).rsample(Size([100_000]))
    best = seen[value(draws, seen).mean(0).argmax()]
    pairs = torch.stack([best.expand_as(X), X], -2)
    values = value(model.posterior(pairs).rsample(Size([100_000])), pairs)
    return (values[..., 1] - values[..., 0]).clamp_min(0).mean(0)


def itself(Y: Tensor, X: Tensor) -> Tensor:
    return Y.squeeze(-1)


def target(Y: Tensor, X: Tensor) -> Tensor:
    return -(Y.squeeze(-1) - 4.0).abs() - 0.1 * X[..., 0]


@affine
def price(Y: Tensor, X: Tensor) -> Tensor:
    return (0.5 + X[..., 1]) * Y.squeeze(-1) - 0.4 * X[..., 0]


def test_in_closed_form(model: MixturePriorGP) -> None:
    torch.manual_seed(0)
    X = model.prior.space.sample(6, seed=4)
    found = LogIncumbentImprovement(model)(X.unsqueeze(-2)).exp()
    torch.testing.assert_close(found, monte_carlo(model, X, itself), rtol=0.03, atol=2e-3)


def test_what_is_particular_to_a_point_is_a_gain_where_each_is_measured_once(
    make_prior: Callable[..., Prior], observe: Observe
) -> None:
    torch.manual_seed(0)
    prior = make_prior(num_components=1)
    prior = replace(prior, mixture=replace(prior.mixture, noises=torch.tensor([0.3]).double()))
    model, X = MixturePriorGP(*observe(prior, 3), prior), prior.space.sample(6, seed=4)
    best = LogIncumbentImprovement(model).incumbent
    pairs = torch.stack([best.expand_as(X), X], -2)
    incumbent, new = model.posterior(pairs).rsample(Size([200_000])).squeeze(-1).unbind(-1)
    new = new + 0.3**0.5 * prior.output_scale * torch.randn_like(new)
    expected = (new - incumbent).clamp_min(0).mean(0)
    found = LogIncumbentImprovement(model, measured_once=True)(X.unsqueeze(-2)).exp()
    torch.testing.assert_close(found, expected, rtol=0.03, atol=2e-3)
    broad = replace(prior.mixture, is_broad=torch.tensor([True]))  # knows nothing of the family
    model = MixturePriorGP(*observe(prior, 3), replace(prior, mixture=broad))
    plain, once = (LogIncumbentImprovement(model, measured_once=m) for m in (False, True))
    torch.testing.assert_close(once(X.unsqueeze(-2)), plain(X.unsqueeze(-2)))


@pytest.mark.parametrize("objective", [itself, target])
def test_by_draws(model: MixturePriorGP, objective: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    X = model.prior.space.sample(6, seed=4)
    acquisition = LogIncumbentImprovement(model, objective=objective)
    found = acquisition(X.unsqueeze(-2)).exp()
    expected = monte_carlo(model, X, objective)
    # 128 quasi-random draws are what the search can afford.
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.02)


def test_affine_objectives_in_closed_form(model: MixturePriorGP) -> None:
    torch.manual_seed(0)
    X = model.prior.space.sample(6, seed=4)
    for objective in (price, negative, response):
        acquisition = LogIncumbentImprovement(model, objective=objective)
        assert acquisition.in_closed_form
        expected = monte_carlo(model, X, objective)
        torch.testing.assert_close(acquisition(X[:, None]).exp(), expected, rtol=0.03, atol=3e-3)
        draws = objective(model.posterior(X).rsample(Size([100_000])), X).mean(0)
        torch.testing.assert_close(acquisition.expected(X[:, None]), draws, rtol=0.03, atol=0.03)
        single = acquisition(X.float()[:, None])
        double = acquisition(X[:, None])
        torch.testing.assert_close(single.double().exp(), double.exp(), rtol=1e-3, atol=1e-3)
    plain = LogIncumbentImprovement(model)(X[:, None]).exp()
    same = LogIncumbentImprovement(model, objective=response)(X[:, None]).exp()
    torch.testing.assert_close(same, plain, rtol=0.01, atol=3e-3)


def test_a_warp_needs_draws(make_prior: Callable[..., Prior], observe: Observe) -> None:
    torch.manual_seed(0)
    prior = make_prior(warp=Warp(2.0, 1.5, -0.4, 0.7))
    model, X = MixturePriorGP(*observe(prior, 3), prior), prior.space.sample(6, seed=4)
    acquisition = LogIncumbentImprovement(model, objective=price)
    assert not acquisition.in_closed_form
    expected = monte_carlo(model, X, price)
    torch.testing.assert_close(acquisition(X[:, None]).exp(), expected, rtol=0.1, atol=0.05)


def test_an_objective_that_only_says_it_is_affine(model: MixturePriorGP) -> None:
    with pytest.raises(ValueError, match="says that it is affine in the response, but it is not"):
        LogIncumbentImprovement(model, objective=affine(lambda Y, X: Y.squeeze(-1) ** 2))


def test_the_incumbent_has_the_best_mean(model: MixturePriorGP) -> None:
    acquisition = LogIncumbentImprovement(model)
    mean = model.posterior(model.train_inputs[0]).mean.squeeze(-1)
    assert torch.equal(acquisition.incumbent[0], model.train_inputs[0][mean.argmax()])
    elsewhere = model.prior.space.sample(5, seed=9)
    other = LogIncumbentImprovement(model, X_evaluated=elsewhere).incumbent[0]
    mean = model.posterior(elsewhere).mean.squeeze(-1)
    assert torch.equal(other, elsewhere[mean.argmax()])


def test_before_the_first_evaluation_it_is_the_expectation(prior: Prior) -> None:
    X = prior.space.sample(6, seed=4)
    model = MixturePriorGP(X[:0], X[:0, :1], prior)
    found = LogIncumbentImprovement(model)(X.unsqueeze(-2))
    torch.testing.assert_close(found, model.posterior(X).mean.squeeze(-1))
    torch.manual_seed(0)
    draws = target(model.posterior(X).rsample(Size([100_000])), X).mean(0)
    found = LogIncumbentImprovement(model, objective=target)(X.unsqueeze(-2))
    torch.testing.assert_close(found, draws, rtol=0.05, atol=0.05)


def test_nothing_is_gained_at_the_incumbent_itself(model: MixturePriorGP) -> None:
    acquisition = LogIncumbentImprovement(model)
    here = acquisition(acquisition.incumbent.unsqueeze(0))
    assert here.isfinite()
    assert here < acquisition(model.prior.space.sample(20, seed=4).unsqueeze(-2)).max() - 10


def test_gradients(model: MixturePriorGP) -> None:
    X = model.prior.space.sample(4, seed=4).unsqueeze(-2).requires_grad_()
    for objective in (None, target, price):
        acquisition = LogIncumbentImprovement(model, objective=objective)
        assert torch.autograd.gradcheck(acquisition, (X,), atol=1e-4, rtol=1e-3)
        at_data = model.train_inputs[0].unsqueeze(-2).clone().requires_grad_()
        acquisition(at_data).sum().backward()
        assert at_data.grad is not None
        assert at_data.grad.isfinite().all()


def test_the_units_of_the_output_only_shift_it(
    make_prior: Callable[..., Prior], observe: Observe
) -> None:
    one, other = make_prior(offset=3.0, scale=2.0), make_prior(offset=3e6, scale=2e6)
    X, Y = observe(one, 3)
    points = one.space.sample(5, seed=4).unsqueeze(-2)
    small = LogIncumbentImprovement(MixturePriorGP(X, Y, one))(points)
    large = LogIncumbentImprovement(MixturePriorGP(X, 1e6 * Y, other))(points)
    torch.testing.assert_close(large - small, (large - small)[:1].expand(5))


def test_a_large_offset_costs_no_digits(make_prior: Callable[..., Prior], observe: Observe) -> None:
    near, far = make_prior(offset=3.0), make_prior(offset=3e6)
    X, Y = observe(near, 3)
    points = near.space.sample(5, seed=4).unsqueeze(-2)
    here, there = (
        LogIncumbentImprovement(MixturePriorGP(X, Y + shift, prior), objective=response)(points)
        for prior, shift in ((near, 0.0), (far, 3e6 - 3.0))
    )
    torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-6)


def test_input_transform(model: MixturePriorGP) -> None:
    prior = model.prior
    low, high = prior.space.bounds
    to_units = Normalize(2, bounds=prior.space.bounds, reverse=True)
    X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
    inside = MixturePriorGP((X - low) / (high - low), Y, prior, input_transform=to_units)
    points = prior.space.sample(5, seed=4).unsqueeze(-2)
    found = LogIncumbentImprovement(inside)((points - low) / (high - low))
    torch.testing.assert_close(found, LogIncumbentImprovement(model)(points))


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_where_no_gain_is_likely_the_uncertain_point_is_better(
    model: MixturePriorGP, slope: float
) -> None:
    def out_of_reach(Y: Tensor, X: Tensor) -> Tensor:
        return slope * Y.squeeze(-1) - 1000 * (X[..., 0] - model.train_inputs[0][0, 0]).abs()

    X = model.prior.space.sample(40, seed=4).unsqueeze(-2)
    predicted = model.conditioned.predict(*model.encode(X.squeeze(-2)))
    spread = model.conditioned.log_weights.exp() @ predicted.variances.sqrt()
    by_draws = LogIncumbentImprovement(model, objective=out_of_reach)
    for acquisition in (by_draws, LogIncumbentImprovement(model, objective=affine(out_of_reach))):
        values = acquisition(X)
        assert values.isfinite().all()
        assert values.argmax() == spread.argmax()


def test_a_batch_of_tasks_is_refused_and_the_dtype_is_the_models(model: MixturePriorGP) -> None:
    X = model.prior.space.sample(4, seed=1).unsqueeze(-2)
    fantasy = model.fantasize(X, SobolQMCNormalSampler(Size([2]), seed=0))
    with pytest.raises(UnsupportedError, match="one task at a time"):
        LogIncumbentImprovement(fantasy)
    single = model.float()
    assert LogIncumbentImprovement(single)(X.float()).dtype == torch.float32


def test_inference_mode_leaves_nothing_behind(model: MixturePriorGP) -> None:
    X = model.prior.space.sample(2, seed=4).unsqueeze(-2)
    with torch.inference_mode():
        LogIncumbentImprovement(model, objective=target, seed=987)(X)
    X.requires_grad_()
    value = LogIncumbentImprovement(model, objective=target, seed=987)(X).sum()
    assert bool(torch.autograd.grad(value, X)[0].isfinite().all())
