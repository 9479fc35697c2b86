"""The warp as an outcome transform."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from botorch.acquisition import LogExpectedImprovement, qLogExpectedImprovement
from botorch.acquisition.joint_entropy_search import qJointEntropySearch
from botorch.acquisition.max_value_entropy_search import qMaxValueEntropy
from botorch.acquisition.objective import ScalarizedPosteriorTransform
from botorch.acquisition.predictive_entropy_search import qPredictiveEntropySearch
from botorch.acquisition.utils import get_optimal_samples
from botorch.sampling import SobolQMCNormalSampler
from torch import Size, Tensor
from torch.distributions import Normal

from metabo.prior import PlainKernels, PooledKernel, Prior
from metabo.surrogates import ReptileKernelGP, ReptileMeanGP
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]
WARP = Warp(center=5.0, spread=2.0, skew=-0.8, tail=0.6)
KERNEL = PooledKernel(0.3, (1.0, 1.0), 0.01)


Surrogate = type[ReptileMeanGP] | type[ReptileKernelGP]
PLAIN = PlainKernels(KERNEL, replace(KERNEL, lengthscales=(1.0,)))


@pytest.fixture(params=[ReptileMeanGP, ReptileKernelGP])
def surrogate(request: pytest.FixtureRequest) -> Surrogate:
    return request.param


def test_plain_surrogates_predict_in_the_users_units(
    surrogate: Surrogate, make_prior: Callable[..., Prior], observe: Observe
) -> None:
    prior = make_prior(offset=0.2, scale=0.7, plain=PLAIN)
    X, V = observe(prior, 5)
    Y = WARP.inverse(V)
    grid = prior.space.sample(4, seed=3)
    warped = surrogate(X, V, prior).posterior(grid)
    model = surrogate(X, Y, replace(prior, warp=WARP))
    found = model.posterior(grid)
    draws = WARP.inverse(warped.rsample(Size([40_000])))
    torch.testing.assert_close(found.mean, draws.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(found.variance, draws.var(0), rtol=0.1, atol=0.02)
    sampler = SobolQMCNormalSampler(Size([4096]), seed=0)
    torch.testing.assert_close(sampler(found).mean(0), found.mean, rtol=0.02, atol=0.02)
    for function in (
        LogExpectedImprovement(model, best_f=Y.max()),
        qLogExpectedImprovement(model, best_f=Y.max()),
    ):
        assert bool(function(grid.unsqueeze(-2)).isfinite().all())


def test_plain_surrogates_are_at_home_in_botorch(
    surrogate: Surrogate, make_prior: Callable[..., Prior], observe: Observe
) -> None:
    torch.manual_seed(0)
    prior = make_prior(offset=0.2, scale=0.7, plain=PLAIN)
    X, V = observe(prior, 5)
    Y, grid = WARP.inverse(V), prior.space.sample(8, seed=3)
    warped = surrogate(X, V, prior).posterior(grid)
    model = surrogate(X, Y, replace(prior, warp=WARP))
    found = model.posterior(grid)
    level = torch.tensor(0.1, dtype=torch.float64)
    torch.testing.assert_close(found.quantile(level), WARP.inverse(warped.quantile(level)))
    density = Normal(warped.mean, warped.variance.sqrt()).log_prob(WARP(found.mean))
    torch.testing.assert_close(found.log_density(found.mean), density + WARP.log_slope(found.mean))
    negative = ScalarizedPosteriorTransform(torch.tensor([-1.0]).double())
    mapped = model.posterior(grid, posterior_transform=negative)
    torch.testing.assert_close(mapped.mean, -found.mean)
    best = get_optimal_samples(
        model, prior.space.bounds, num_optima=3, raw_samples=16, num_restarts=1
    )
    for acquisition in (
        qMaxValueEntropy(model, grid),
        qJointEntropySearch(model, *best),
        qPredictiveEntropySearch(model, best[0]),
    ):
        assert bool(acquisition(grid.unsqueeze(-2)).isfinite().all())
