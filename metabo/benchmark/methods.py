"""The methods that are compared, each as the user would set it up.

A method predicts observations from a few others, or searches, or both. All model the response, and
get the known objective on top of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from metabo.baselines.exact_bayes import ExactBayes, ExactBayesSearch
from metabo.baselines.random_search import RandomSearch
from metabo.baselines.vanilla_gp import VanillaGPSearch, predict_vanilla
from metabo.benchmark.predictive import Predictive
from metabo.benchmark.problems import Problem
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import InputSpace
from metabo.surrogates import MixturePosterior, MixturePriorGP, ReptileKernelGP, ReptileMeanGP
from metabo.tasks import FunctionFamily


class Search(Protocol):
    """Ask and tell, as `metabo.Optimizer`."""

    def ask(self) -> dict[str, Any]: ...  # noqa: D102

    def tell(self, x: Mapping[str, Any], y: float) -> None: ...  # noqa: D102


class Predictor(Protocol):
    """A method that predicts."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """The distribution, of batch shape q, of observations at query points.

        Args:
            space: The inputs.
            X: `n x d`, n > 0.
            Y: `n x 1`.
            query: `q x d`.
        """
        ...


class Searcher(Protocol):
    """A method that optimises."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start on a problem, of which it may use all but the responses."""
        ...


@dataclass(frozen=True)
class Metabo:
    """Our surrogate and Optimizer, on a Prior."""

    prior: Prior
    name: str = "metabo"

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """The mixture; `space` is the prior's own."""
        posterior = MixturePriorGP(X, Y, self.prior).posterior(query, observation_noise=True)
        assert isinstance(posterior, MixturePosterior)
        return Predictive(posterior)

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with what the prior suggests."""
        return Optimizer(
            self.prior, seed=seed, candidates=problem.candidates, objective=problem.objective
        )


@dataclass(frozen=True)
class PlainSurrogate:
    """One of the two plain surrogates, as it is: its hyperparameters are pooled over tasks."""

    surrogate: type[ReptileMeanGP] | type[ReptileKernelGP]
    prior: Prior

    @property
    def name(self) -> str:
        """The surrogate's."""
        return self.surrogate.__name__

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """A normal distribution; `space` is the prior's own."""
        with torch.no_grad():
            model = self.surrogate(X, Y, self.prior)
            posterior = model.posterior(query, observation_noise=True)
        return Normal(posterior.mean.squeeze(-1), posterior.variance.squeeze(-1).sqrt())


@dataclass(frozen=True)
class VanillaGP:
    """BoTorch's `SingleTaskGP`, fitted to the task alone; two random points to begin with."""

    name: ClassVar[str] = "vanilla GP"

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """A normal distribution."""
        return predict_vanilla(X, Y, query, space)

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with random points: those of `Random`."""
        return VanillaGPSearch(
            problem.space, problem.candidates, objective=problem.objective, seed=seed
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


@dataclass(frozen=True)
class Random:
    """Random search."""

    name: ClassVar[str] = "random"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """All candidates in random order."""
        return RandomSearch(problem.space, problem.candidates, seed=seed)
