"""One Gaussian prior, estimated from earlier tasks, as in HyperBO [Wang2021]_.

Where all earlier tasks were measured at all candidates, it is a `CandidateGaussian` of Y
standardised by task. A new task's offset is one more Gaussian variable, and its scale is the
likeliest one, both under the distribution that they have over earlier tasks.

Otherwise the prior is a Gaussian process with a constant mean, fitted to the pooled likelihood.

.. [Wang2021] Z. Wang, G. E. Dahl, K. Swersky et al. Pre-trained Gaussian processes for Bayesian
   optimization. arXiv:2109.08215.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from metabo.baselines.candidate_gaussian import CandidateGaussian
from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.improvement_search import ImprovementSearch
from metabo.baselines.pooled_gp import PooledGP
from metabo.objective import Objective
from metabo.tasks.task import TaskBatch

_FEWEST = 3  # tasks for an empirical covariance
_SCALES = torch.linspace(-2, 2, 17, dtype=torch.float64)  # standard deviations of the logarithm


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
