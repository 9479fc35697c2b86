r"""One Gaussian prior, estimated from earlier tasks, as in HyperBO [Wang2021]_.

Where all earlier tasks were measured at all candidates, mean and covariance are the empirical ones,

.. math::
    \hat\mu = \frac1T \sum_t z_t, \quad
    \hat K = (1 - a)\, \frac{1}{T - 1} \sum_t (z_t - \hat\mu)(z_t - \hat\mu)^\top
    + a\, v\, \mathrm{Matern}_{5/2}.

With T tasks the first term has rank T - 1, so it is shrunk to a kernel of the same mean variance v;
a, the length scale and the noise are those under which each task is likeliest given the others.
z is Y standardised by task. A new task's offset is one more Gaussian variable, and its scale is the
likeliest one, both under the distribution that they have over earlier tasks.

Otherwise the prior is a Gaussian process with a constant mean, fitted to the pooled likelihood.

.. [Wang2021] Z. Wang, G. E. Dahl, K. Swersky et al. Pre-trained Gaussian processes for Bayesian
   optimization. arXiv:2109.08215.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.improvement_search import ImprovementSearch
from metabo.baselines.pooled_gp import PooledGP, matern
from metabo.objective import Objective
from metabo.tasks.task import TaskBatch

_FEWEST = 3  # tasks for an empirical covariance
_SHRINKAGE = (0.1, 0.3, 0.5, 0.7, 0.9)
_LENGTHSCALES = (0.3, 1.0, 3.0, 10.0)  # encoded inputs are of order one
_NOISE = (1e-4, 1e-2, 1e-1)
_POINTS = 150  # candidates by which these are chosen
_SCALES = torch.linspace(-2, 2, 17, dtype=torch.float64)  # standard deviations of the logarithm


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


class OneGaussianSearch(ImprovementSearch):
    """Bayesian optimisation with the Gaussian over candidates that earlier tasks all share.

    Args:
        runs: The earlier runs.
        gaussian: Of the candidates' values.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of the draws if there is an objective.
    """

    def __init__(
        self,
        runs: EarlierRuns,
        gaussian: CandidateGaussian,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(runs.space, candidates, objective=objective, seed=seed)
        self.runs, self.gaussian = runs, gaussian
        T = len(runs)
        self.offset = float(runs.offsets.mean())
        self.offset_variance = float(runs.offsets.var() * (1 + 1 / T))
        logs = runs.scales.log()
        self.scales = (logs.mean() + logs.std() * (1 + 1 / T) ** 0.5 * _SCALES).exp()

    def predict(self, indices: Tensor) -> Normal:
        """The posterior in the user's units."""
        scale, measured, prior = self.likeliest_scale(), self.measured, self.gaussian
        root = torch.linalg.cholesky(self._gram(scale))
        cross = scale**2 * prior.covariance(measured, indices) + self.offset_variance
        half = torch.linalg.solve_triangular(root, cross, upper=False)
        residual = self.Y - (self.offset + scale * prior.mean[measured]).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(root, residual, upper=False)
        mean = self.offset + scale * prior.mean[indices] + (half.mT @ whitened).squeeze(-1)
        variance = scale**2 * prior.variance(indices) + self.offset_variance
        return Normal(mean, (variance - half.square().sum(0)).clamp_min(1e-12 * scale**2).sqrt())

    def likeliest_scale(self) -> Tensor:
        """The scale of the task with the highest posterior density among those tried."""
        mean = self.gaussian.mean[self.measured]
        y = self.Y.squeeze(-1)
        fits = -0.5 * _SCALES.square()
        if len(y) > 0:
            evidence = [
                MultivariateNormal(self.offset + b * mean, self._gram(b)).log_prob(y)
                for b in self.scales
            ]
            fits = fits + torch.stack(evidence)
        return self.scales[fits.argmax()]

    def _gram(self, scale: Tensor) -> Tensor:
        n = len(self.measured)
        covariance = self.gaussian.covariance(self.measured, self.measured)
        covariance = covariance + self.gaussian.noise * torch.eye(n, dtype=covariance.dtype)
        return scale**2 * covariance + self.offset_variance


class PooledGPSearch(ImprovementSearch):
    """Bayesian optimisation with a Gaussian process fitted to all earlier tasks.

    The first point is random, since the mean is constant.

    Args:
        runs: The earlier runs.
        process: In their average offset and scale.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: As in `CandidateSearch`.
    """

    def __init__(
        self,
        runs: EarlierRuns,
        process: PooledGP,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(runs.space, candidates, objective=objective, seed=seed, num_random=1)
        self.process = process
        self.offset, self.scale = float(runs.offsets.mean()), float(runs.scales.mean())

    def predict(self, indices: Tensor) -> Normal:
        """The posterior in the user's units."""
        Y = (self.Y.squeeze(-1) - self.offset) / self.scale
        found = self.process.posterior(self.space.encode(self.X), Y, self.codes[indices])
        return Normal(self.offset + self.scale * found.mean, self.scale * found.stddev)


class GaussianPrior:
    """What is estimated from earlier runs, when first needed.

    Args:
        runs: The earlier runs.
        seed: Of what is drawn from them.
        max_points: How many observations of each task the process is fitted to.
    """

    def __init__(self, runs: EarlierRuns, *, seed: int = 0, max_points: int = 100) -> None:
        self.runs, self.seed, self.max_points = runs, seed, max_points
        self._gaussian: tuple[Tensor, CandidateGaussian] | None = None

    def search(
        self, candidates: Tensor, *, objective: Objective | None = None, seed: int = 0
    ) -> ImprovementSearch:
        """Start on candidates, `N x d`, with the kind of prior that can be had for them."""
        candidates = self.runs.space.snap(candidates.double())
        if len(self.runs) >= _FEWEST and self.runs.are_matched(candidates):
            gaussian = self.gaussian(candidates)
            return OneGaussianSearch(
                self.runs, gaussian, candidates, objective=objective, seed=seed
            )
        return PooledGPSearch(self.runs, self.process, candidates, objective=objective, seed=seed)

    def gaussian(self, candidates: Tensor) -> CandidateGaussian:
        """The Gaussian over the values at candidates that all tasks have, `N x d`."""
        if self._gaussian is None or not torch.equal(self._gaussian[0], candidates):
            values = self.runs.values(candidates) - self.runs.offsets.unsqueeze(-1)
            values = values / self.runs.scales.unsqueeze(-1)
            codes = self.runs.space.encode(candidates)
            found = CandidateGaussian.estimate(codes, values, seed=self.seed)
            self._gaussian = (candidates, found)
        return self._gaussian[1]

    @cached_property
    def process(self) -> PooledGP:
        """The process with a constant mean, in the earlier tasks' average offset and scale."""
        runs = self.runs
        raw = TaskBatch.from_tasks(runs.sample(self.max_points))
        offset = ((runs.offsets - runs.offsets.mean()) / runs.scales.mean()).unsqueeze(-1)
        scale = (runs.scales / runs.scales.mean()).unsqueeze(-1)
        Y = torch.where(raw.mask, offset + scale * raw.Y, 0.0)
        tasks = TaskBatch(runs.space.encode(raw.X), Y, raw.counts)
        process = PooledGP(runs.space.encoded_dim, (), torch.Generator())
        process.fit(lambda: tasks, steps=300, step_size=0.05)
        return process
