"""One Gaussian prior, estimated from earlier tasks, as in HyperBO [Wang2021]_.

Where all earlier tasks were measured at all candidates, it is a `CandidateGaussian` of Y
standardised by task. A new task's offset is one more Gaussian variable, and its scale is the
likeliest one, both under the distribution that they have over earlier tasks.

One or two tasks have no empirical covariance: the mean is theirs, candidate by candidate, and a
Gaussian process is for what a new task differs by. Where tasks were measured elsewhere, the mean is
a network, fitted together with the process to the pooled likelihood.

.. [Wang2021] Z. Wang, G. E. Dahl, K. Swersky et al. Pre-trained Gaussian processes for Bayesian
   optimization. arXiv:2109.08215.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

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
_MEAN_HIDDEN = (32, 32)
_TASKS_PER_STEP = 16

_Made = TypeVar("_Made")
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

    Args:
        runs: The earlier runs.
        process: In their average offset and scale.
        candidates: As in `CandidateSearch`.
        mean: What is added to the process at each candidate, N, in the same units.
        objective: What to maximise; the response itself if None.
        seed: Of the draws if there is an objective.
    """

    def __init__(
        self,
        runs: EarlierRuns,
        process: PooledGP,
        candidates: Tensor,
        mean: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(runs.space, candidates, objective=objective, seed=seed)
        self.process, self.mean = process, mean
        self.offset, self.scale = runs.average_units

    def predict(self, indices: Tensor) -> Normal:
        """The posterior in the user's units."""
        Y = (self.Y.squeeze(-1) - self.offset) / self.scale - self.mean[self.measured]
        found = self.process.posterior(self.space.encode(self.X), Y, self.codes[indices])
        mean = self.mean[indices] + found.mean
        return Normal(self.offset + self.scale * mean, self.scale * found.stddev)


class GaussianPrior:
    """What is estimated from earlier runs, when first needed.

    Args:
        runs: The earlier runs.
        seed: Of what is drawn from them, and of a network's first weights.
        max_points: How many observations of each task a process is fitted to.
    """

    def __init__(self, runs: EarlierRuns, *, seed: int = 0, max_points: int = 100) -> None:
        self.runs, self.seed, self.max_points = runs, seed, max_points
        self._made: tuple[Tensor, Any] | None = None

    def search(
        self, candidates: Tensor, *, objective: Objective | None = None, seed: int = 0
    ) -> ImprovementSearch:
        """Start on candidates, `N x d`, with the kind of prior that can be had for them."""
        runs, candidates = self.runs, self.runs.space.snap(candidates.to("cpu", torch.float64))
        if not runs.are_matched(candidates):
            process, mean = self.process, candidates.new_zeros(len(candidates))
        elif len(runs) < _FEWEST:
            process, mean = self.differences(candidates)
        else:
            gaussian = self.gaussian(candidates)
            return OneGaussianSearch(runs, gaussian, candidates, objective=objective, seed=seed)
        return PooledGPSearch(runs, process, candidates, mean, objective=objective, seed=seed)

    def gaussian(self, candidates: Tensor) -> CandidateGaussian:
        """The Gaussian over the values at candidates that all tasks have, `N x d`."""
        return self._once(self._estimate, candidates)

    def differences(self, candidates: Tensor) -> tuple[PooledGP, Tensor]:
        """How a new task differs from the mean of one or two, and their mean at candidates `N x d`.

        The process is learned from the difference of two. One task does not say: the process is
        as wide as the task itself. Both are in the average units.
        """
        return self._once(self._compare, candidates)

    def _once(self, make: Callable[[Tensor], _Made], candidates: Tensor) -> _Made:
        if self._made is None or not torch.equal(self._made[0], candidates):
            self._made = (candidates, make(candidates))
        return self._made[1]

    def _estimate(self, candidates: Tensor) -> CandidateGaussian:
        values = self.runs.values(candidates) - self.runs.offsets.unsqueeze(-1)
        values = values / self.runs.scales.unsqueeze(-1)
        return CandidateGaussian.estimate(
            self.runs.space.encode(candidates), values, seed=self.seed
        )

    def _compare(self, candidates: Tensor) -> tuple[PooledGP, Tensor]:
        space, (offset, scale) = self.runs.space, self.runs.average_units
        values = (self.runs.values(candidates) - offset) / scale
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randperm(len(candidates), generator=generator)[: self.max_points]
        some = values[:, rows]
        if len(values) == 2:
            # A new task is off from their mean by 3/4 of the variance of their difference.
            some = math.sqrt(0.75) * (some - some.flip(0))
        X = space.encode(candidates[rows]).expand(len(values), -1, -1)
        tasks = TaskBatch(X, some, torch.full((len(values),), len(rows)))
        process = PooledGP(space.encoded_dim, (), generator)
        process.fit(lambda: tasks, steps=300, step_size=0.05)
        return process, values.mean(0)

    @cached_property
    def process(self) -> PooledGP:
        """The process whose mean is a network, in the earlier tasks' average units."""
        tasks = self._tasks()
        generator = torch.Generator().manual_seed(self.seed)

        def draw() -> TaskBatch:
            return tasks.select(torch.randperm(len(tasks), generator=generator)[:_TASKS_PER_STEP])

        process = PooledGP(self.runs.space.encoded_dim, (), generator, _MEAN_HIDDEN)
        process.fit(draw, steps=1000, step_size=0.01)
        return process

    def _tasks(self) -> TaskBatch:
        """Some observations of each task, X encoded and Y in the average units."""
        runs = self.runs
        raw = TaskBatch.from_tasks(runs.sample(self.max_points))
        offset, scale = runs.average_units
        Y = runs.offsets.unsqueeze(-1) + runs.scales.unsqueeze(-1) * raw.Y
        return TaskBatch(
            runs.space.encode(raw.X), torch.where(raw.mask, (Y - offset) / scale, 0.0), raw.counts
        )
