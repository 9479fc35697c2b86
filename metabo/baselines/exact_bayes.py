r"""Exact Bayes: inference in the true family, which no method can know better.

The family's parameters are drawn M times from their true distribution, and re-weighted by the
likelihood of the observations,

.. math:: w_i \propto \prod_j N(y_j;\; f(x_j; \theta_i),\; \sigma^2).

So it is a bound to compare with, not something to use: it needs the family in closed form and its
noise. It is as exact as M draws allow: where the data leave few of them a noticeable weight, its
error is that of a coarse grid.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from metabo.baselines.candidate_search import CandidateSearch, Objective
from metabo.tasks import FunctionFamily

# Draws of less weight than this, relative to the likeliest, add nothing to any result.
_NEGLIGIBLE = -30.0


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
        self.family = family
        self.parameters = family.draw(num_draws, seed)
        self.num_draws = num_draws

    def functions(self, X: Tensor) -> Tensor:
        """The values of all draws, `M x n`, at points `n x d`."""
        return self.family.evaluate(self.parameters, X.expand(self.num_draws, *X.shape))

    def log_weights(self, X: Tensor, Y: Tensor) -> Tensor:
        """The posterior log weights of the draws, M, after observations `n x d` and `n x 1`."""
        noise = Normal(self.functions(X), self.family.noise_sd)
        return noise.log_prob(Y.squeeze(-1)).sum(-1).log_softmax(-1)

    def predict(self, X: Tensor, Y: Tensor, query: Tensor) -> MixtureSameFamily:
        """The predictive distribution of observations at query points (`q x d`), of batch shape q.

        Args:
            X: `n x d`; n may be 0.
            Y: `n x 1`.
            query: `q x d`.
        """
        log_weights = self.log_weights(X, Y)
        likely = log_weights > log_weights.max() + _NEGLIGIBLE
        values = self.functions(query)[likely].T
        weights = Categorical(logits=log_weights[likely].expand(len(query), -1))
        return MixtureSameFamily(weights, Normal(values, self.family.noise_sd))


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
        self._values = self._objective(self.candidates)

    def scores(self, indices: Tensor) -> Tensor:
        """The expected improvement by each candidate."""
        values = self._values[:, indices]
        if len(self.Y) > 0:
            best = self._objective(self.X).amax(-1, keepdim=True)
            values = (values - best).clamp_min(0.0)
        return self.bayes.log_weights(self.X, self.Y).exp() @ values

    def _objective(self, X: Tensor) -> Tensor:
        values = self.bayes.functions(X)
        return values if self.objective is None else self.objective(values.unsqueeze(-1), X)
