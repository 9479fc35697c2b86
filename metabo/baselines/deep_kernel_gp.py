"""Few-shot Bayesian optimisation [Wistuba2021]_: a deep kernel learned on earlier tasks.

A Gaussian process on the features of a network. Network and hyperparameters are meta-trained by the
marginal likelihood of batches of earlier tasks, and fine-tuned to the new task from there at every
step. A task's Y is moved to the offset and scale of another in training, so that the kernel learns
how much these vary (the paper draws ranges uniformly; here they are those of the earlier tasks).

.. [Wistuba2021] M. Wistuba, J. Grabocka. Few-Shot Bayesian Optimization with Deep Kernel
   Surrogates. arXiv:2101.07667.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Normal

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.improvement_search import ImprovementSearch
from metabo.baselines.pooled_gp import PooledGP
from metabo.baselines.portfolio import portfolio
from metabo.objective import Objective
from metabo.tasks.task import TaskBatch

_HIDDEN = (32, 32, 32)
_TASKS_PER_STEP = 16
_POINTS_PER_STEP = 40
_MAX_POINTS = 1000  # of each task, from which the steps draw


class FewShotDeepKernel:
    """What meta-training leaves: a process in the units of earlier tasks, trained when needed.

    Args:
        runs: The earlier runs.
        seed: Of the first weights and of the batches.
        steps: Of meta-training.
        step_size: Adam's first.
    """

    def __init__(
        self, runs: EarlierRuns, *, seed: int = 0, steps: int = 1000, step_size: float = 3e-3
    ) -> None:
        self.runs, self.seed = runs, seed
        self.steps, self.step_size = steps, step_size
        self.offset, self.scale = runs.average_units

    @cached_property
    def _trained(self) -> tuple[PooledGP, list[float]]:
        generator = torch.Generator().manual_seed(self.seed)
        process = PooledGP(self.runs.space.encoded_dim, _HIDDEN, generator)
        raw = TaskBatch.from_tasks(self.runs.sample(_MAX_POINTS))
        tasks = TaskBatch(self.runs.space.encode(raw.X), raw.Y, raw.counts)

        def draw() -> TaskBatch:
            batch = tasks.some(_TASKS_PER_STEP, _POINTS_PER_STEP, generator)
            return self._with_other_scales(batch, generator)

        losses = process.fit(draw, steps=self.steps, step_size=self.step_size)
        return process, losses

    def _with_other_scales(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        """Standardised tasks with offsets and scales of others."""
        others = torch.randint(len(self.runs), (len(batch),), generator=generator)
        scale = (self.runs.scales[others] / self.scale).unsqueeze(-1)
        offset = ((self.runs.offsets[others] - self.offset) / self.scale).unsqueeze(-1)
        return TaskBatch(
            batch.X, torch.where(batch.mask, offset + scale * batch.Y, 0), batch.counts
        )

    @property
    def process(self) -> PooledGP:
        """The meta-trained process."""
        return self._trained[0]

    @property
    def losses(self) -> list[float]:
        """The loss at each step of meta-training."""
        return self._trained[1]


class DeepKernelSearch(ImprovementSearch):
    """Bayesian optimisation with the deep kernel.

    Args:
        learned: From earlier tasks.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of the draws if there is an objective.
        num_initial: How many of the first points are those that served earlier tasks best.
        steps: Of fine-tuning.
        step_size: Adam's first.
    """

    def __init__(
        self,
        learned: FewShotDeepKernel,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
        num_initial: int = 1,
        steps: int = 50,
        step_size: float = 1e-3,
    ) -> None:
        runs = learned.runs
        super().__init__(runs.space, candidates, objective=objective, seed=seed)
        self.learned, self.steps, self.step_size = learned, steps, step_size
        values = runs.objective_values(self.candidates, objective)
        self._initial = portfolio(values, num_initial)

    def scores(self, indices: Tensor) -> Tensor:
        """The initial points in their order, then the expected improvement."""
        if len(self.Y) < len(self._initial):
            return (indices == self._initial[len(self.Y)]).double()
        return super().scores(indices)

    def predict(self, indices: Tensor) -> Normal:
        """The fine-tuned process, in the user's units."""
        X, offset, scale = self.space.encode(self.X), self.learned.offset, self.learned.scale
        Y = (self.Y.squeeze(-1) - offset) / scale
        process = self.fine_tuned(X, Y)
        found = process.posterior(X, Y, self.codes[indices])
        return Normal(offset + scale * found.mean, scale * found.stddev)

    def fine_tuned(self, X: Tensor, Y: Tensor) -> PooledGP:
        """The process adapted to one task, `n x e` and `n`."""
        process = self.learned.process.copy()
        task = TaskBatch(X.unsqueeze(0), Y.unsqueeze(0), torch.tensor([len(Y)]))
        process.fit(lambda: task, steps=self.steps, step_size=self.step_size)
        return process
