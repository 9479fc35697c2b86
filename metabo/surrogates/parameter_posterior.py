"""What a task's observations say of the parameters of a family in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd
import torch
from botorch.exceptions.errors import UnsupportedError
from torch import Tensor

from metabo.mixture import ConditionedMixture, ParameterMap
from metabo.mixture.conditioning import Marginals
from metabo.prior import Prior
from metabo.surrogates.mixture_posterior import MixturePosterior


@dataclass(frozen=True, eq=False)
class ParameterPosterior:
    """A mixture of Gaussians over P parameters; what lies beyond a range's end counts as that end.

    Attributes:
        parameters: Their names and ranges.
        log_weights: `... x C`.
        means: `... x C x P`, as places in the range, from 0 to 1.
        covariances: `... x C x P x P`, likewise.
    """

    parameters: ParameterMap
    log_weights: Tensor
    means: Tensor
    covariances: Tensor

    @classmethod
    def of(cls, prior: Prior, conditioned: ConditionedMixture) -> Self:
        """That of a Prior's parameters, given what its mixture was conditioned on.

        Raises:
            UnsupportedError: If the family has no known parameters.
        """
        if prior.parameters is None:
            raise UnsupportedError(
                "this prior's family has no known parameters: meta_train a FunctionFamily, such as "
                "LogisticFamily, to infer them"
            )
        means, covariances = prior.parameters.posterior(conditioned)
        return cls(prior.parameters, conditioned.log_weights, means, covariances)

    @property
    def mean(self) -> dict[str, Tensor]:
        """The posterior mean of each parameter, `...`."""
        return self._by_name(self._moments()[0])

    @property
    def sd(self) -> dict[str, Tensor]:
        """The posterior standard deviation of each parameter, `...`."""
        mean, square = self._moments()
        width = self.parameters.high - self.parameters.low
        deviation = (square - mean.square()).clamp_min(0).sqrt() * width
        return dict(zip(self.parameters.names, deviation.unbind(-1), strict=True))

    def quantile(self, p: float) -> dict[str, Tensor]:
        """The value, `...`, below which each parameter is with probability p."""
        marginals = Marginals(self.means, self._variances)
        places = MixturePosterior(self.log_weights, marginals).quantile(torch.tensor(p))
        return self._by_name(places.squeeze(-1).clamp(0, 1))

    def sample(self, n: int, *, seed: int) -> dict[str, Tensor]:
        """Joint draws, `n x ...` for each parameter."""
        generator = torch.Generator(self.means.device).manual_seed(seed)
        batch, (count, size) = self.log_weights.shape[:-1], self.means.shape[-2:]
        shares = self.log_weights.exp().reshape(-1, count)
        chosen = shares.multinomial(n, replacement=True, generator=generator)  # b x n
        task = torch.arange(len(shares), device=shares.device).unsqueeze(-1)
        means = self.means.reshape(-1, count, size)[task, chosen]
        roots = torch.linalg.cholesky(self.covariances)
        roots = roots.reshape(-1, count, size, size)[task, chosen]
        white = torch.randn(
            means.shape, generator=generator, dtype=means.dtype, device=means.device
        )
        places = means + (roots @ white.unsqueeze(-1)).squeeze(-1)
        places = places.transpose(0, 1).reshape(n, *batch, size)
        return self._by_name(places.clamp(0, 1))

    def summary(self, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> pd.DataFrame:
        """One row for each parameter: mean, sd and quantiles; for one task, not a batch."""
        columns = {"mean": self.mean, "sd": self.sd}
        columns |= {f"{p:.0%}": self.quantile(p) for p in quantiles}
        return pd.DataFrame(
            {
                name: {key: float(value) for key, value in found.items()}
                for name, found in columns.items()
            }
        )

    @property
    def _variances(self) -> Tensor:
        return self.covariances.diagonal(dim1=-2, dim2=-1)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """The first two moments, `... x P`, of the places, cut off at 0 and 1."""
        mean, deviation = self.means, self._variances.sqrt()
        density = torch.distributions.Normal(0.0, 1.0).log_prob
        below, above = -mean / deviation, (1 - mean) / deviation
        at_low, at_high = density(below).exp(), density(above).exp()
        inside = torch.special.ndtr(above) - torch.special.ndtr(below)
        beyond = torch.special.ndtr(-above)
        first = inside * mean + deviation * (at_low - at_high) + beyond
        second = inside * (mean.square() + deviation.square()) + beyond
        second = second + deviation * (mean * at_low - (mean + 1) * at_high)
        weights = self.log_weights.exp().unsqueeze(-1)
        return (weights * first).sum(-2), (weights * second).sum(-2)

    def _by_name(self, places: Tensor) -> dict[str, Tensor]:
        low, high = self.parameters.low, self.parameters.high
        values = low + (high - low) * places
        return dict(zip(self.parameters.names, values.unbind(-1), strict=True))
