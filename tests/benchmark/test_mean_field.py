"""The network of Gaussian weights against draws of the weights and torch.distributions."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from metabo.benchmark.mean_field import MeanFieldMLP
from metabo.network import stacked_output


def network(sd: float = 0.3) -> MeanFieldMLP:
    generator = torch.Generator().manual_seed(0)
    return MeanFieldMLP(2, (6, 5), initial_sd=sd, generator=generator).double()


def test_the_divergence_is_the_sum_over_weights() -> None:
    own, total = network(), 0.0
    for mean, log_sd in zip(own.means, own.log_sds, strict=True):
        prior_sd = torch.full_like(mean, (len(mean) - 1) ** -0.5)
        prior_sd[-1] = 1.0
        total += kl_divergence(Normal(mean, log_sd.exp()), Normal(0.0, prior_sd)).sum()
    torch.testing.assert_close(own.divergence(), total)
    torch.testing.assert_close(own(torch.zeros(3, 2).double())[:, 1], total.expand(3))


def test_outputs_are_distributed_as_with_drawn_weights() -> None:
    own, x = network(), torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    torch.manual_seed(0)
    with torch.no_grad():
        found = own(x.expand(40_000, -1))[:, 0]
        drawn = [
            mean + log_sd.exp() * torch.randn(40_000, *mean.shape, dtype=torch.float64)
            for mean, log_sd in zip(own.means, own.log_sds, strict=True)
        ]
        expected = stacked_output(drawn, x.expand(40_000, 1, -1), "tanh").flatten()
    levels = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    difference = found.quantile(levels) - expected.quantile(levels)
    assert difference.abs().max() < 0.03 * expected.std()
