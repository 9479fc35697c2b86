"""Our three surrogates as methods, on a Prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from metabo.baselines.improvement_search import ImprovementSearch, exact_marginals
from metabo.benchmark.methods.protocols import Search, Searcher
from metabo.benchmark.predictive import Predictive
from metabo.benchmark.problems import Problem
from metabo.objective import Objective
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import InputSpace
from metabo.surrogates import MixturePosterior, MixturePriorGP, ReptileKernelGP, ReptileMeanGP
from metabo.surrogates.warped_posterior import warped_moments

Surrogate = type[ReptileMeanGP] | type[ReptileKernelGP]
_PLAIN: tuple[Surrogate, ...] = (ReptileMeanGP, ReptileKernelGP)


def own_methods(prior: Prior) -> list[Searcher]:
    """The two plain surrogates and the mixture, all on one Prior; `OWN_METHODS` are their names."""
    return [*(PlainSurrogate(surrogate, prior) for surrogate in _PLAIN), Metabo(prior)]


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


OWN_METHODS = (*(surrogate.__name__ for surrogate in _PLAIN), Metabo.name)


@dataclass(frozen=True)
class PlainSurrogate:
    """One of the two plain surrogates, as it is: its hyperparameters are pooled over tasks."""

    surrogate: Surrogate
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

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start where the learned mean is best."""
        return PlainSurrogateSearch(
            self.surrogate,
            self.prior,
            problem.candidates,
            objective=problem.objective,
            seed=seed,
        )


class PlainSurrogateSearch(ImprovementSearch):
    """Bayesian optimisation with one of the two plain surrogates.

    Args:
        surrogate: Which one.
        prior: What it starts from.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of the draws if there is an objective.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        prior: Prior,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(prior.space, candidates, objective=objective, seed=seed)
        self.surrogate, self.prior = surrogate, prior
        # A surrogate needs an observation; without one its mean and variance are the prior's own.
        self._start = surrogate(self.candidates[:1], self.Y.new_zeros(1, 1), prior)

    def predict(self, indices: Tensor) -> Normal:
        """The surrogate's posterior, in the user's units."""
        points = self.candidates[indices]
        if len(self.Y) == 0:
            found = self._start.forward(points)
        else:
            found = exact_marginals(self.surrogate(self.X, self.Y, self.prior).eval(), points)
        mean, variance = warped_moments(self.prior.to_user, found.mean, found.variance)
        return Normal(mean, variance.sqrt())
