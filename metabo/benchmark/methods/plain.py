"""Methods that know nothing of earlier runs, and the bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.distributions import Distribution

from metabo.baselines.exact_bayes import ExactBayes, ExactBayesSearch
from metabo.baselines.random_search import RandomSearch
from metabo.baselines.sobol_search import SobolSearch
from metabo.baselines.vanilla_gp import VanillaGPSearch, predict_vanilla
from metabo.benchmark.methods.protocols import Search, Searcher
from metabo.benchmark.problems import Problem
from metabo.space import InputSpace
from metabo.tasks import FunctionFamily


def plain_methods() -> list[Searcher]:
    """All that start from nothing."""
    return [Random(), Sobol(), TPE(), VanillaGP(), VanillaGP(noisy=True)]


@dataclass(frozen=True)
class Random:
    """Random search."""

    name: ClassVar[str] = "random"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """All candidates in random order."""
        return RandomSearch(problem.space, problem.candidates, seed=seed)


@dataclass(frozen=True)
class Sobol:
    """Candidates that cover the space evenly."""

    name: ClassVar[str] = "Sobol"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Follow a scrambled Sobol sequence."""
        return SobolSearch(problem.space, problem.candidates, seed=seed)


@dataclass(frozen=True)
class TPE:
    """Optuna's default sampler; needs `metabo[optuna]`."""

    name: ClassVar[str] = "TPE"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with Optuna's ten random points."""
        from metabo.baselines.tpe import TPESearch

        return TPESearch(problem.space, problem.candidates, objective=problem.objective, seed=seed)


@dataclass(frozen=True)
class VanillaGP:
    """BoTorch's `SingleTaskGP`, fitted to the task alone; two random points to begin with.

    Attributes:
        noisy: Whether to search by the noisy expected improvement where there is no objective on
            top of the response; where there is one it always does, so that both are the same.
    """

    noisy: bool = False

    @property
    def name(self) -> str:
        """With the acquisition function if it is not the default."""
        return "vanilla GP, qLogNEI" if self.noisy else "vanilla GP"

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """A normal distribution."""
        return predict_vanilla(X, Y, query, space)

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with random points: those of `Random`."""
        return VanillaGPSearch(
            problem.space,
            problem.candidates,
            objective=problem.objective,
            seed=seed,
            noisy=self.noisy,
        )


@dataclass(frozen=True)
class Exact:
    """Exact Bayes in the true family: the bound."""

    family: FunctionFamily
    name: ClassVar[str] = "exact Bayes"

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """A mixture of the family's members."""
        return ExactBayes(self.family).predict(X, Y, query)

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start where the objective is best on average."""
        bayes = ExactBayes(self.family)
        return ExactBayesSearch(bayes, problem.candidates, objective=problem.objective, seed=seed)
