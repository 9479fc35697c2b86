"""Methods from the literature that learn from earlier runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metabo.baselines.average_rank import AverageRankSearch
from metabo.baselines.deep_kernel_gp import DeepKernelSearch, FewShotDeepKernel
from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.multi_task_gp import MultiTaskSearch
from metabo.baselines.one_gaussian import GaussianPrior
from metabo.baselines.rgpe import RGPESearch
from metabo.baselines.task_gps import TaskGPs
from metabo.baselines.tst_r import TSTRSearch
from metabo.benchmark.methods.protocols import Search, Searcher
from metabo.benchmark.problems import Problem
from metabo.tasks import TableFamily


def transfer_methods(family: TableFamily, *, seed: int) -> list[Searcher]:
    """All that learn from earlier runs, but ours.

    What they learn is learned when it is first needed, and shared by the searches that follow: keep
    the list for all seeds and problems that have one family.

    Args:
        family: The earlier runs, without the task that is to be optimised.
        seed: Of what is drawn from them and of training.
    """
    runs = EarlierRuns(family, seed=seed)
    gps = TaskGPs(runs)
    return [
        MultiTask(runs),
        RGPE(gps),
        DeepKernel(FewShotDeepKernel(runs, seed=seed)),
        OneGaussian(GaussianPrior(runs, seed=seed)),
        AverageRank(runs),
        TSTR(gps),
    ]


@dataclass(frozen=True, eq=False)
class AverageRank:
    """Candidates in the order of their average rank over earlier tasks."""

    runs: EarlierRuns
    name: ClassVar[str] = "average rank"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with the best on average."""
        return AverageRankSearch(
            self.runs, problem.candidates, objective=problem.objective, seed=seed
        )


@dataclass(frozen=True, eq=False)
class RGPE:
    """The ranking-weighted Gaussian process ensemble."""

    gps: TaskGPs
    name: ClassVar[str] = "RGPE"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start where earlier tasks are best on average."""
        return RGPESearch(self.gps, problem.candidates, objective=problem.objective, seed=seed)


@dataclass(frozen=True, eq=False)
class TSTR:
    """The two-stage transfer surrogate with rankings."""

    gps: TaskGPs
    name: ClassVar[str] = "TST-R"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start where earlier tasks are best on average."""
        return TSTRSearch(self.gps, problem.candidates, objective=problem.objective, seed=seed)


@dataclass(frozen=True, eq=False)
class DeepKernel:
    """Few-shot Bayesian optimisation: a meta-trained deep kernel, fine-tuned at every step."""

    learned: FewShotDeepKernel
    name: ClassVar[str] = "deep-kernel GP"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with the candidate that served earlier tasks best."""
        return DeepKernelSearch(
            self.learned, problem.candidates, objective=problem.objective, seed=seed
        )


@dataclass(frozen=True, eq=False)
class MultiTask:
    """BoTorch's multi-task model over a sample of the earlier runs and the task."""

    runs: EarlierRuns
    name: ClassVar[str] = "multi-task GP"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with the candidate that served earlier tasks best."""
        return MultiTaskSearch(
            self.runs, problem.candidates, objective=problem.objective, seed=seed
        )


@dataclass(frozen=True, eq=False)
class OneGaussian:
    """One Gaussian prior, estimated from earlier tasks."""

    prior: GaussianPrior
    name: ClassVar[str] = "one Gaussian"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start where the prior's mean is best."""
        return self.prior.search(problem.candidates, objective=problem.objective, seed=seed)
