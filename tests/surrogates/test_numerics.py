"""No failed Cholesky reaches the user: many points, little noise, duplicates, odd scales."""

import resource
from collections.abc import Callable
from itertools import product

import pytest
import torch
from botorch.sampling import SobolQMCNormalSampler
from torch import Size, Tensor

from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP

Observe = Callable[..., tuple[Tensor, Tensor]]


def use(model: MixturePriorGP) -> None:
    """What an optimiser does with a model; everything must stay finite."""
    seen = model.train_inputs[0][:20]
    test_X = torch.cat([model.prior.space.sample(10, seed=1), seen, seen]).requires_grad_()
    posterior = model.posterior(test_X)
    samples = posterior.rsample_from_base_samples(
        Size([4]), torch.randn(4, len(test_X), 1, generator=torch.Generator().manual_seed(0))
    )
    (samples.sum() + posterior.variance.log().sum()).backward()
    quantiles = posterior.quantile(torch.tensor([0.05, 0.95]))
    for value in (posterior.mean, posterior.variance, samples, quantiles, test_X.grad):
        assert value is not None
        assert value.isfinite().all()
    assert bool((posterior.variance > 0).all())
    assert bool((quantiles[0] <= quantiles[1]).all())
    new = model.prior.space.sample(1, seed=2)
    fantasy = model.fantasize(new, SobolQMCNormalSampler(Size([2]), seed=0))
    assert fantasy.posterior(new).mean.isfinite().all()
    assert model.conditioned.jitter <= 1e-6


@pytest.mark.parametrize(
    ("n", "noise", "repeats"), list(product([1, 10, 60], [1e-12, 1e-8, 1e-4, 1.0], [1, 3]))
)
def test_noise_and_duplicates(
    prior: Prior, observe: Observe, n: int, noise: float, repeats: int
) -> None:
    X, Y = (value.repeat(repeats, 1) for value in observe(prior, n))
    use(MixturePriorGP(X, Y, prior, torch.full_like(Y, noise * prior.output_scale**2)))


@pytest.mark.parametrize("noise", [0.0, 1e-8, 1.0])
def test_five_hundred_observations(prior: Prior, observe: Observe, noise: float) -> None:
    X, Y = observe(prior, 500)
    use(MixturePriorGP(X, Y, prior, torch.full_like(Y, noise)))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [None, 1e-8])
def test_two_thousand_observations(prior: Prior, observe: Observe, noise: float | None) -> None:
    X, Y = observe(prior, 2000)
    use(MixturePriorGP(X, Y, prior, None if noise is None else torch.full_like(Y, noise)))


def test_components_that_many_observations_rule_out_are_dropped_first(
    make_prior: Callable[..., Prior], observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = make_prior(num_components=6, broad=0.1)
    X, Y = observe(prior, 120)
    whole = MixturePriorGP(X, Y, prior)
    monkeypatch.setattr("metabo.surrogates.conditioned_prior._MOST_NUMBERS", 26 * 60**2)
    screened = MixturePriorGP(X, Y, prior)
    assert screened.prior.mixture.num_components < whole.prior.mixture.num_components
    test_X = prior.space.sample(20, seed=3)
    for name in ("mean", "variance"):
        found, expected = (getattr(m.posterior(test_X), name) for m in (screened, whole))
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(screened.log_evidence, whole.log_evidence)
    torch.testing.assert_close(screened.prior_weight, whole.prior_weight)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_scales_of_the_prior(
    make_prior: Callable[..., Prior], observe: Observe, scale: float
) -> None:
    prior = make_prior(broad=0.1, offset=0.3 * scale, scale=scale)
    use(MixturePriorGP(*observe(prior, 10), prior))


@pytest.mark.parametrize("factor", [0.0, 1e-12, 1e6, 1e30])
def test_outputs_far_from_what_the_prior_expects(
    prior: Prior, observe: Observe, factor: float
) -> None:
    X, Y = observe(prior, 10)
    use(MixturePriorGP(X, factor * Y, prior))


def test_points_almost_alike(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 4)
    near = (X.repeat(5, 1) + 1e-9 * torch.arange(20).unsqueeze(-1)).clamp(*prior.space.bounds)
    use(MixturePriorGP(near, Y.repeat(5, 1), prior, torch.full((20, 1), 1e-10).double()))


@pytest.mark.parametrize("n", [0, 25])
def test_a_table_of_candidates_needs_no_joint_matrix(
    make_prior: Callable[..., Prior], observe: Observe, n: int
) -> None:
    prior = make_prior(num_components=20)
    model = MixturePriorGP(*observe(prior, n), prior)
    X = prior.space.sample(30_000, seed=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    posterior = model.posterior(X)
    assert posterior.variance.shape == (30_000, 1)
    few = model.posterior(X[:100].unsqueeze(-2))
    torch.testing.assert_close(posterior.mean[:100], few.mean.squeeze(-2))
    # One joint matrix alone would be 7 GiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1e6
