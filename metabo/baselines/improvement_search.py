r"""Expected improvement over candidates, by a model that gives each a normal distribution.

Without a known objective on top of the response,

.. math:: EI(x) = E[(f(x) - y^*)_+], \quad f(x) \sim N(\mu(x), \sigma^2(x)),

with :math:`y^*` the best response so far, as a logarithm [Ament2023]_; with one, the expectation is
over fixed quasi-random draws of f(x), and the incumbent is the measured point with the best
expected objective.

.. [Ament2023] S. Ament et al. Unexpected Improvements to Expected Improvement for Bayesian
   Optimization. arXiv:2310.20708.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from botorch.acquisition.analytic import _log_ei_helper
from botorch.models.model import Model
from gpytorch.models import ExactGP
from torch import Tensor
from torch.distributions import Normal
from torch.quasirandom import SobolEngine

from metabo.baselines.candidate_search import CandidateSearch
from metabo.objective import Objective
from metabo.space import InputSpace

_NUM_DRAWS = 128
_CHUNK = 4096
_NO_SPREAD = 1e-9  # of the largest standard deviation: less counts as this much


def marginals(model: Model, X: Tensor) -> Normal:
    """A model's posterior at points `m x d`, each by itself, of batch shape m."""
    parts = [model.posterior(part.unsqueeze(-2)) for part in X.split(_CHUNK)]
    mean = torch.cat([part.mean.flatten() for part in parts])  # type: ignore[attr-defined]
    variance = torch.cat([part.variance.flatten() for part in parts])  # type: ignore[attr-defined]
    return Normal(mean, variance.sqrt())


def exact_marginals(model: ExactGP, X: Tensor) -> Normal:
    """The same of an exact Gaussian process, in the units of its outcome transform.

    `posterior` of a batch evaluates mean and kernel at the training points anew for each of the m,
    which takes many times as long on tens of thousands of them.

    Args:
        model: In evaluation mode, without a batch or a transform of inputs.
        X: `m x d`.
    """
    (train_X,) = model.train_inputs
    prior, there = model.forward(train_X), model.forward(X)
    root = torch.linalg.cholesky(model.likelihood(prior, [train_X]).covariance_matrix)
    cross = model.covar_module(train_X, X).to_dense()
    half = torch.linalg.solve_triangular(root, cross, upper=False)
    residual = (model.train_targets - prior.mean).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(root, residual, upper=False)
    mean = there.mean + (half.mT @ whitened).squeeze(-1)
    variance = there.lazy_covariance_matrix.diagonal(dim1=-2, dim2=-1) - half.square().sum(0)
    return Normal(mean, variance.clamp_min(1e-12).sqrt())


class ImprovementSearch(CandidateSearch):
    """Maximises the expected improvement; before the first answer, the expectation itself.

    Args:
        space: As in `CandidateSearch`.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: As in `CandidateSearch`.
        num_random: As in `CandidateSearch`.
    """

    def __init__(
        self,
        space: InputSpace,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
        num_random: int = 0,
    ) -> None:
        super().__init__(space, candidates, seed=seed, num_random=num_random)
        self.objective = objective
        self.codes = space.encode(self.candidates)
        self.measured = torch.zeros(0, dtype=torch.long)
        uniform = SobolEngine(1, scramble=True, seed=seed).draw(_NUM_DRAWS, dtype=torch.float64)
        self._draws = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)).squeeze(-1)

    @abstractmethod
    def predict(self, indices: Tensor) -> Normal:
        """The distribution of the response at the candidates at these indices, of batch shape m.

        Called with all answers so far in `X` and `Y`, and in `measured` the candidates that they
        are of (of other points the nearest candidate).
        """

    def tell(self, x: Mapping[str, Any], y: float) -> None:
        """Take a measured response; errors as in `CandidateSearch`."""
        super().tell(x, y)
        distances = (self.codes - self.space.encode(self.X[-1])).square().sum(-1)
        self.measured = torch.cat([self.measured, distances.argmin()[None]])

    def scores(self, indices: Tensor) -> Tensor:
        """The logarithm of the expected improvement by each candidate."""
        with torch.no_grad():
            found = self.predict(torch.cat([indices, self.measured]))
            here, there = (
                Normal(mean, sd)
                for mean, sd in zip(
                    found.mean.split([len(indices), len(self.measured)]),
                    found.stddev.split([len(indices), len(self.measured)]),
                    strict=True,
                )
            )
            if self.objective is not None:
                return self._by_draws(here, indices, there)
            if len(self.Y) == 0:
                return here.mean
            sd = here.stddev.clamp_min(_NO_SPREAD * float(here.stddev.max()))
            return sd.log() + _log_ei_helper((here.mean - self.Y.max()) / sd)

    def _by_draws(self, here: Normal, indices: Tensor, there: Normal) -> Tensor:
        values = self._objective(here, indices)
        if len(self.Y) == 0:
            return torch.cat([part.mean(0) for part in values])
        best = max(float(part.mean(0).max()) for part in self._objective(there, self.measured))
        return torch.cat([(part - best).clamp_min(0.0).mean(0) for part in values])

    def _objective(self, found: Normal, indices: Tensor) -> list[Tensor]:
        """Draws of the objective, `S x m`, in parts of the candidates."""
        assert self.objective is not None
        parts = []
        means, sds = found.mean.split(_CHUNK), found.stddev.split(_CHUNK)
        for mean, sd, rows in zip(means, sds, indices.split(_CHUNK), strict=True):
            responses = mean + sd * self._draws.unsqueeze(-1)
            points = self.candidates[rows].expand(len(self._draws), -1, -1)
            parts.append(self.objective(responses.unsqueeze(-1), points))
        return parts
