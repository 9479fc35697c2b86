"""The surrogates of a session."""

import math
from collections.abc import Callable

import pytest
import torch
from botorch.exceptions.errors import UnsupportedError
from torch import Tensor

from metabo.constraint import Constraint
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.session_models import PriorCollapsedWarning, has_collapsed, to_ask
from metabo.surrogates import MixturePriorGP

Made = Callable[..., Prior]
Observe = Callable[..., tuple[Tensor, Tensor]]


def collapsed(prior: Prior, **settings: object) -> Optimizer:
    """A session whose observations are of another kind."""
    optimizer = Optimizer(prior, seed=0, **settings)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for row in torch.rand(12, 2, generator=generator, dtype=torch.float64):
        x = {"x1": 8 * float(row[0]) - 4, "x2": float(row[1])}
        others = dict.fromkeys(optimizer.constraints, 1000 * math.cos(3 * x["x1"]))
        optimizer.tell(x, 1000 * math.sin(2 * x["x1"]), constraints=others)
    return optimizer


def test_goes_on_as_an_ordinary_gp_where_the_prior_is_wrong(make_prior: Made) -> None:
    optimizer = collapsed(make_prior(broad=0.1))
    assert len(optimizer.prior.mixture.log_weights) == 24
    with pytest.warns(PriorCollapsedWarning, match="after 12 observations") as caught:
        model, again = optimizer.model, optimizer.model
    assert len(caught) == 1
    fitted = model.prior.mixture
    assert float(model.prior_weight) < 0.01
    assert has_collapsed(model, 12)
    assert fitted.num_components == 25
    assert int(fitted.is_broad.sum()) == 21
    weights = model.conditioned.log_weights.exp()
    assert weights[-1] > 0.5
    X = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(model.posterior(X).mean, again.posterior(X).mean)


@pytest.mark.parametrize("call", [lambda o: o.ask(), lambda o: o.expect([{"x1": 0.0, "x2": 0.0}])])
def test_the_warning_points_at_the_user(
    make_prior: Made, call: Callable[[Optimizer], object]
) -> None:
    optimizer = collapsed(make_prior(broad=0.1))
    with pytest.warns(PriorCollapsedWarning) as caught:
        call(optimizer)
    assert [w.filename for w in caught] == [__file__]


def test_each_output_is_warned_of_once(make_prior: Made) -> None:
    prior = make_prior(broad=0.1)
    optimizer = collapsed(prior, constraints={"heat": Constraint(prior, high=9.0)})
    with pytest.warns(PriorCollapsedWarning) as caught:
        assert optimizer.ask() == optimizer.ask()
    assert ["'heat'" in str(w.message) for w in caught] == [False, True]


@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")
def test_a_model_is_made_once_after_each_tell(make_prior: Made) -> None:
    optimizer = Optimizer(make_prior(broad=0.3, offset=0.0, scale=1.0))
    for x1 in (-3.0, 0.0, 3.0):
        before = optimizer.model
        optimizer.tell({"x1": x1, "x2": 0.5}, 40.0 * x1)
        assert optimizer.model is not before
        assert optimizer.model is optimizer.model
    model = optimizer.model
    assert len(model.data) == 3
    optimizer.ask(2)
    assert optimizer.model is model


def test_at_times_a_point_is_asked_for_without_a_prior(make_prior: Made, observe: Observe) -> None:
    prior = make_prior(broad=0.1)
    X, Y = observe(prior, 26)
    Y = MixturePriorGP(X[:1], Y[:1], prior).posterior(X).mean.detach()  # of the family
    models = {n: MixturePriorGP(X[:n], Y[:n], prior) for n in range(1, 27)}
    assert not any(has_collapsed(model, n) for n, model in models.items())
    asked = {n: to_ask(model, n) for n, model in models.items()}
    assert [n for n in asked if asked[n] is not models[n]] == [20, 25]
    alone = asked[25]
    assert float(alone.prior_weight) == 0
    # What was fitted is the component that with_fitted_broad() adds, and few others are believed.
    fitted = models[25].with_fitted_broad().prior.mixture
    torch.testing.assert_close(alone.prior.mixture.lengthscales[-1], fitted.lengthscales[-1])
    assert alone.prior.mixture.is_broad.all()
    assert alone.prior.mixture.num_components == 21


def test_a_prior_without_broad_components_is_always_asked(
    make_prior: Made, observe: Observe
) -> None:
    model = MixturePriorGP(*observe(make_prior(), 20), make_prior())
    assert to_ask(model, 20) is model
    with pytest.raises(UnsupportedError, match="alone"):
        model.alone()
