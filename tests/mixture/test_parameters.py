"""The joint mixture over heads and parameters, against draws from a joint mixture that is known."""

from __future__ import annotations

import torch
from torch import Tensor

from metabo.mixture import (
    HeadStatistics,
    Mixture,
    ParameterMap,
    Remainder,
    broad_components,
    concatenate,
    condition,
    fit_parameter_map,
)

RANGES = {"a": (1.0, 10.0), "b": (-1.0, 1.0), "fixed": (2.0, 2.0)}
NOISE = 1e-3
GENERATOR = torch.Generator()


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def known() -> tuple[Mixture, ParameterMap]:
    """Two components of the family, far apart, one broad; parameters that depend on the head."""
    GENERATOR.manual_seed(0)
    family = Mixture(
        log_weights=torch.tensor([0.3, 0.7]).double().log(),
        means=torch.tensor([[3.0, 0, 0], [-3.0, 0, 1]]).double(),
        roots=0.7 * randn(2, 3, 2),
        outputscales=torch.full((2,), 1e-4).double(),
        amplitudes=torch.zeros(2, 3).double(),
        trends=torch.zeros(2, 3).double(),
        lengthscales=torch.ones(2, 1).double(),
        noises=torch.full((2,), NOISE).double(),
        is_broad=torch.zeros(2, dtype=torch.bool),
    )
    mixture = concatenate([(0.95, family), (0.05, broad_components(3, 1, NOISE))])
    count = mixture.num_components
    low, high = torch.tensor(list(RANGES.values())).double().T
    slopes = torch.zeros(count, 3, 2).double()
    slopes[:2, :2] = 0.1 * randn(2, 2, 2)
    covariances = torch.eye(3).double().repeat(count, 1, 1) / 12
    covariances[:2] = torch.diag(torch.tensor([1e-3, 2e-3, 1e-6])).double()
    offsets = torch.full((count, 3), 0.5).double()
    offsets[:2, 2] = 0.0
    return mixture, ParameterMap(tuple(RANGES), low, high, offsets, slopes, covariances)


def draw(mixture: Mixture, truth: ParameterMap, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Components, heads (`T x p`) and places of the parameters (`T x P`), of the family alone."""
    chosen = torch.rand(count, generator=GENERATOR).gt(0.3).long()
    v = randn(count, 2, 1)
    heads = mixture.means[chosen] + (mixture.roots[chosen] @ v).squeeze(-1)
    roots = torch.linalg.cholesky(truth.covariances[chosen])
    places = truth.offsets[chosen] + (truth.slopes[chosen] @ v + roots @ randn(count, 3, 1))[..., 0]
    return chosen, heads, places


def features(count: int, n: int) -> tuple[Tensor, Tensor]:
    X = randn(count, n, 1)
    return torch.cat([X, X.square(), torch.ones_like(X)], -1), X


def test_the_map_is_recovered_from_tasks() -> None:
    mixture, truth = known()
    _, heads, places = draw(mixture, truth, 4000)
    Phi, X = features(4000, 10)
    Y = (Phi @ heads.unsqueeze(-1)).squeeze(-1) + NOISE**0.5 * randn(4000, 10)
    remainder = Remainder(*(value[0] for value in (
        mixture.outputscales, mixture.lengthscales, mixture.noises
    )))  # fmt: skip
    statistics = HeadStatistics.of_tasks(Phi, X, Y, torch.ones_like(Y).bool(), remainder)
    width = torch.tensor([high - low for low, high in RANGES.values()]).double()
    values = dict(zip(RANGES, (truth.low + width * places).unbind(-1), strict=True))
    values["fixed"] = torch.full_like(values["fixed"], 2.0)
    found = fit_parameter_map(statistics, mixture, values, RANGES)
    torch.testing.assert_close(found.offsets[:2], truth.offsets[:2], atol=0.01, rtol=0)
    torch.testing.assert_close(found.slopes[:2], truth.slopes[:2], atol=0.01, rtol=0)
    torch.testing.assert_close(
        found.covariances[:2, :2, :2], truth.covariances[:2, :2, :2], atol=2e-4, rtol=0
    )
    assert found.covariances[:, 2, 2][:2].max() < 1e-6  # of a parameter that does not vary
    broad = mixture.is_broad
    assert torch.equal(found.slopes[broad], torch.zeros_like(found.slopes[broad]))
    assert torch.equal(found.covariances[broad], truth.covariances[broad])


def test_the_posterior_is_that_of_reweighted_draws() -> None:
    mixture, truth = known()
    count = 400_000
    _, heads, places = draw(mixture, truth, count)
    noise = NOISE + 1e-4  # two points far apart: the remainder is noise
    X = torch.tensor([[-4.0], [4.0]]).double()
    Phi = torch.cat([X, X.square(), torch.ones_like(X)], -1) / 4
    broad = mixture.reweighted(mixture.log_weights.masked_fill(mixture.is_broad, -50.0))
    Y = (Phi @ heads[7]) + 0.1
    likelihood = torch.distributions.Normal(heads @ Phi.T, noise**0.5).log_prob(Y).sum(-1)
    weights = likelihood.softmax(0)
    assert 1 / weights.square().sum() > 100  # enough draws count
    mean = weights @ places
    covariance = (places - mean).T @ (weights[:, None] * (places - mean))
    conditioned = condition(broad, Phi, X, Y)
    means, covariances = truth.posterior(conditioned)
    shares = conditioned.log_weights.exp()
    found = shares @ means
    gap = means - found
    spread = torch.einsum("k,kp,kq->pq", shares, gap, gap)
    torch.testing.assert_close(found, mean, atol=0.01, rtol=0)
    torch.testing.assert_close(
        torch.einsum("k,kpq->pq", shares, covariances) + spread, covariance, atol=5e-4, rtol=0
    )


def test_without_observations_it_is_the_prior() -> None:
    mixture, truth = known()
    nothing = torch.zeros(0, 3).double(), torch.zeros(0, 1).double(), torch.zeros(0).double()
    means, covariances = truth.posterior(condition(mixture, *nothing))
    torch.testing.assert_close(means, truth.offsets)
    expected = truth.slopes @ truth.slopes.mT + truth.covariances
    torch.testing.assert_close(covariances, expected)
