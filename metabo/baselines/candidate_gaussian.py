r"""The empirical Gaussian of earlier tasks' values at candidates that all were measured at.

.. math::
    \hat\mu = \frac1T \sum_t z_t, \quad
    \hat K = (1 - a)\, \frac{1}{T - 1} \sum_t (z_t - \hat\mu)(z_t - \hat\mu)^\top
    + a\, v\, \mathrm{Matern}_{5/2}.

With T tasks the first term has rank T - 1, so it is shrunk to a kernel of the same mean variance v;
a, the length scale and the noise are those under which each task is likeliest given the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from metabo.baselines.pooled_gp import matern

_SHRINKAGE = (0.1, 0.3, 0.5, 0.7, 0.9)
_LENGTHSCALES = (0.3, 1.0, 3.0, 10.0)  # encoded inputs are of order one
_NOISE = (1e-4, 1e-2, 1e-1)
_POINTS = 150  # candidates by which these are chosen


@dataclass(frozen=True, eq=False)
class CandidateGaussian:
    """A Gaussian over the values at N candidates, in the units of standardised Y.

    Attributes:
        codes: The encoded candidates, `N x e`.
        mean: N.
        deviations: Of the earlier tasks from the mean, `T x N`.
        shrinkage: a.
        lengthscale: Of the kernel.
        noise: The variance of what is particular to each observation.
    """

    codes: Tensor
    mean: Tensor
    deviations: Tensor
    shrinkage: float
    lengthscale: float
    noise: float

    @classmethod
    def estimate(cls, codes: Tensor, values: Tensor, *, seed: int = 0) -> CandidateGaussian:
        """From the values `T x N` of earlier tasks at candidates `N x e`."""
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(codes), generator=generator)[:_POINTS]
        choices = list(product(_SHRINKAGE, _LENGTHSCALES, _NOISE))
        fits = torch.zeros(len(choices))
        for i, choice in enumerate(choices):
            for t in range(len(values)):
                others = torch.arange(len(values)) != t
                rest = cls._of(codes[rows], values[others][:, rows], *choice)
                fits[i] += rest.likelihood(values[t, rows])
        return cls._of(codes, values, *choices[int(fits.argmax())])

    @classmethod
    def _of(
        cls, codes: Tensor, values: Tensor, shrinkage: float, lengthscale: float, noise: float
    ) -> CandidateGaussian:
        mean = values.mean(0)
        return cls(codes, mean, values - mean, shrinkage, lengthscale, noise)

    def likelihood(self, z: Tensor) -> Tensor:
        """The log density of values at all candidates, N."""
        everything = torch.arange(len(self.codes))
        covariance = self.covariance(everything, everything)
        covariance = covariance + self.noise * torch.eye(len(z), dtype=z.dtype)
        return MultivariateNormal(self.mean, covariance).log_prob(z)

    @cached_property
    def _variance(self) -> Tensor:
        return self.deviations.square().mean() * len(self.deviations) / (len(self.deviations) - 1)

    def covariance(self, left: Tensor, right: Tensor) -> Tensor:
        """`n x m`, of the candidates at these indices: what a new task will be off from the mean.

        The mean of T tasks is itself off by a T-th of that.
        """
        T = len(self.deviations)
        empirical = self.deviations[:, left].T @ self.deviations[:, right] / (T - 1)
        kernel = matern(self.codes[left] / self.lengthscale, self.codes[right] / self.lengthscale)
        shrunk = (1 - self.shrinkage) * empirical + self.shrinkage * self._variance * kernel
        return (1 + 1 / T) * shrunk

    def variance(self, indices: Tensor) -> Tensor:
        """The diagonal of the same, m."""
        T = len(self.deviations)
        empirical = self.deviations[:, indices].square().sum(0) / (T - 1)
        return (1 + 1 / T) * ((1 - self.shrinkage) * empirical + self.shrinkage * self._variance)
