"""The mixture as an ensemble of equally likely members."""

from collections.abc import Callable

import pytest
import torch
from botorch.acquisition import (
    LogExpectedImprovement,
    PosteriorMean,
    UpperConfidenceBound,
)
from botorch.acquisition.objective import ScalarizedPosteriorTransform
from botorch.exceptions.errors import UnsupportedError
from botorch.models.transforms.outcome import Log
from torch import Tensor

from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP

Observe = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def model(make_prior: Callable[..., Prior], observe: Observe) -> MixturePriorGP:
    prior = make_prior()
    return MixturePriorGP(*observe(prior, 2), prior)


def points(model: MixturePriorGP, count: int = 7) -> Tensor:
    return model.prior.space.sample(count, seed=5).unsqueeze(-2)


@pytest.mark.parametrize("num_members", [1, 8, 64])
def test_counts_stand_for_the_weights(model: MixturePriorGP, num_members: int) -> None:
    members, X = model.members(num_members), points(model, 1)
    assert members.batch_shape == (num_members,)
    means = members.posterior(X).mean.flatten()
    exact = model.posterior(X)
    for weight, mean in zip(exact.weights[0], exact.means[0, :, 0], strict=True):
        assert abs(int(means.isclose(mean).sum()) - num_members * float(weight)) < 1


def test_the_members_together_are_the_mixture(model: MixturePriorGP) -> None:
    X = model.prior.space.sample(6, seed=5).reshape(2, 3, 2)
    together, exact = model.members(4096).posterior(X), model.posterior(X)
    assert together.mean.shape == (2, 4096, 3, 1)
    torch.testing.assert_close(together.mixture_mean, exact.mean, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(together.mixture_variance, exact.variance, rtol=1e-2, atol=1e-3)


def test_closed_forms_are_averaged_over_the_mixture(model: MixturePriorGP) -> None:
    X, best = points(model), model.train_targets.max()
    torch.manual_seed(0)
    samples = model.posterior(X).rsample(torch.Size([200_000])).squeeze(-1).squeeze(-1)
    improvement = (samples - best).clamp_min(0).mean(0)
    members = model.members(1024)
    exact = LogExpectedImprovement(members, best_f=best)(X).exp()
    torch.testing.assert_close(exact, improvement, rtol=0.03, atol=1e-3)
    # Of one Gaussian with the mixture's moments it is something else.
    plain = LogExpectedImprovement(model, best_f=best)(X).exp()
    assert float((plain / improvement - 1).abs().max()) > 0.05


def test_mean_and_confidence_bound(model: MixturePriorGP) -> None:
    X, members = points(model), model.members(2048)
    expected = model.posterior(X).mean.flatten()
    torch.testing.assert_close(PosteriorMean(members)(X), expected, rtol=1e-2, atol=1e-2)
    posterior = model.posterior(X)
    bounds = posterior.means + 2.0 * posterior.variances.sqrt()
    expected = (posterior.weights * bounds.squeeze(-1)).sum(-1)
    found = UpperConfidenceBound(members, beta=4.0)(X)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_observation_noise_and_transforms(model: MixturePriorGP) -> None:
    X, members = points(model), model.members()
    quiet, noisy = members.posterior(X), members.posterior(X, observation_noise=True)
    assert bool((noisy.variance > quiet.variance).all())
    known = members.posterior(X, observation_noise=torch.full((7, 1, 1), 0.25).double())
    torch.testing.assert_close(known.variance, quiet.variance + 0.25)
    negative = ScalarizedPosteriorTransform(torch.tensor([-1.0]).double())
    flipped = members.posterior(X, posterior_transform=negative)
    torch.testing.assert_close(flipped.mean, -quiet.mean)


def test_single_precision(model: MixturePriorGP) -> None:
    X = points(model)
    posterior = model.to(torch.float32).members().posterior(X.float())
    assert posterior.mean.dtype == posterior.variance.dtype == torch.float32


def test_what_is_not_supported(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 3)
    batched = MixturePriorGP(X.expand(2, 3, 2), Y.expand(2, 3, 1), prior)
    with pytest.raises(UnsupportedError, match="one task at a time"):
        batched.members()
    with pytest.raises(UnsupportedError, match="outcome transform"):
        MixturePriorGP(X, Y.exp(), prior, outcome_transform=Log()).members()
