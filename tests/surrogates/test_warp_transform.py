"""The warp as an outcome transform."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from botorch.acquisition import LogExpectedImprovement, qLogExpectedImprovement
from botorch.sampling import SobolQMCNormalSampler
from torch import Size, Tensor

from metabo.prior import PlainKernels, PooledKernel, Prior
from metabo.surrogates import ReptileKernelGP, ReptileMeanGP
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]
WARP = Warp(center=5.0, spread=2.0, skew=-0.8, tail=0.6)
KERNEL = PooledKernel(0.3, (1.0, 1.0), 0.01)


@pytest.mark.parametrize("surrogate", [ReptileMeanGP, ReptileKernelGP])
def test_plain_surrogates_predict_in_the_users_units(
    surrogate: type[ReptileMeanGP] | type[ReptileKernelGP],
    make_prior: Callable[..., Prior],
    observe: Observe,
) -> None:
    plain = PlainKernels(KERNEL, replace(KERNEL, lengthscales=(1.0,)))
    prior = make_prior(offset=0.2, scale=0.7, plain=plain)
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
