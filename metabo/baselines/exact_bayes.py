r"""Exact Bayes: inference in the true family, which no method can know better.

The family's parameters are drawn M times from their true distribution, and re-weighted by the
likelihood of the observations,

.. math:: w_i \propto \prod_j N(y_j;\; f(x_j; \theta_i),\; \sigma^2).

Where the data leave few of the draws a noticeable weight, M are drawn anew from the box of
parameters that the likely ones fill, until enough count; the rest of the prior has no weight.

It is a bound to compare with, not something to use: it needs the family in closed form and its
noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from metabo.baselines.candidate_search import CandidateSearch
from metabo.objective import Objective
from metabo.tasks import FunctionFamily
from metabo.tasks.parametric import Range

# Draws of less weight than this, relative to the likeliest, add nothing to any result.
_NEGLIGIBLE = -30.0
_ENOUGH = 0.01  # the share of the draws that is to count (Kish's effective sample size)
_ROUNDS = 8
_EDGE = -12.0  # draws of less weight do not make the box wider


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of a family's parameters, and their posterior log weights, `M` each."""

    family: FunctionFamily
    parameters: dict[str, Tensor]
    log_weights: Tensor

    def functions(self, X: Tensor) -> Tensor:
        """The values of all draws, `M x n`, at points `n x d`."""
        return self.family.evaluate(self.parameters, X.expand(len(self.log_weights), *X.shape))

    @property
    def effective_share(self) -> float:
        """Kish's effective sample size, as a share of M."""
        return float((-(2 * self.log_weights).logsumexp(-1)).exp()) / len(self.log_weights)

    def likely(self) -> Draws:
        """Without those that add nothing to any result."""
        return self._above(_NEGLIGIBLE)

    def _above(self, edge: float) -> Draws:
        kept = self.log_weights > self.log_weights.max() + edge
        parameters = {name: values[kept] for name, values in self.parameters.items()}
        return Draws(self.family, parameters, self.log_weights[kept])

    def box_of_likely(self, box: dict[str, Range]) -> dict[str, Range]:
        """A smaller box around the likely draws, when all are uniform in `box`."""
        likely = self._above(_EDGE).parameters
        # Two steps wider than they reach, if the draws were a grid: where hardly any is likely, the
        # likeliest place is between them.
        step = 2 / len(self.log_weights) ** (1 / len(box))
        smaller = {}
        for name, (low, high) in box.items():
            first, last = float(likely[name].min()), float(likely[name].max())
            margin, ends = step * (high - low), self.family.parameters[name]
            smaller[name] = (max(first - margin, ends[0]), min(last + margin, ends[1]))
        return smaller


class ExactBayes:
    """The posterior of a task of a family in closed form.

    Args:
        family: Where the task comes from; its noise must be positive.
        num_draws: M.
        seed: Of the draws.

    Raises:
        ValueError: If the family has no noise, so that no draw is likely.
    """

    def __init__(self, family: FunctionFamily, *, num_draws: int = 20_000, seed: int = 0) -> None:
        if family.noise_sd <= 0:
            raise ValueError("exact Bayes needs a family with noise_sd > 0 to weigh its draws by")
        self.family, self.num_draws, self.seed = family, num_draws, seed
        self._first = family.draw(num_draws, seed)

    def posterior(self, X: Tensor, Y: Tensor) -> Draws:
        """Draws of the parameters with their weights, after observations `n x d` and `n x 1`."""
        parameters, box = self._first, dict(self.family.parameters)
        for i in range(1, _ROUNDS + 1):
            draws = self._weigh(parameters, X, Y)
            if draws.effective_share >= _ENOUGH:
                break
            box = draws.box_of_likely(box)
            parameters = self.family.draw(self.num_draws, self.seed + i, within=box)
        return draws

    def _weigh(self, parameters: dict[str, Tensor], X: Tensor, Y: Tensor) -> Draws:
        values = self.family.evaluate(parameters, X.expand(self.num_draws, *X.shape))
        likelihood = Normal(values, self.family.noise_sd).log_prob(Y.squeeze(-1)).sum(-1)
        return Draws(self.family, parameters, likelihood.log_softmax(-1))

    def predict(self, X: Tensor, Y: Tensor, query: Tensor) -> MixtureSameFamily:
        """The predictive distribution of observations at query points (`q x d`), of batch shape q.

        Args:
            X: `n x d`; n may be 0.
            Y: `n x 1`.
            query: `q x d`.
        """
        draws = self.posterior(X, Y).likely()
        weights = Categorical(logits=draws.log_weights.expand(len(query), -1))
        return MixtureSameFamily(weights, Normal(draws.functions(query).T, self.family.noise_sd))


class ExactBayesSearch(CandidateSearch):
    """Maximises the noisy expected improvement under exact Bayes, without sampling error.

    The improvement is that of a candidate over the best of the points measured so far, within each
    draw. Before there are any, it is the expected objective.

    Args:
        bayes: The family's draws.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: As in `CandidateSearch`.
    """

    def __init__(
        self,
        bayes: ExactBayes,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(bayes.family.space, candidates, seed=seed)
        self.bayes = bayes
        self.objective = objective

    def scores(self, indices: Tensor) -> Tensor:
        """The expected improvement by each candidate."""
        draws = self.bayes.posterior(self.X, self.Y).likely()
        values = self._objective(draws, self.candidates[indices])
        if len(self.Y) > 0:
            best = self._objective(draws, self.X).amax(-1, keepdim=True)
            values = (values - best).clamp_min(0.0)
        return draws.log_weights.exp() @ values

    def _objective(self, draws: Draws, X: Tensor) -> Tensor:
        values = draws.functions(X)
        return values if self.objective is None else self.objective(values.unsqueeze(-1), X)
