r"""The two-stage transfer surrogate with rankings (TST-R) of [Wistuba2016]_.

First stage: a Gaussian process for each earlier task and one for the task itself. Second stage: the
mean is their average, weighted by how much alike the tasks rank what has been observed; the
variance is that of the task's own model [Wistuba2018]_:

.. math::
    \mu = \frac{\sum_i \kappa(d_i / \rho)\, \mu_i}{\sum_i \kappa(d_i / \rho)}, \quad
    \kappa(t) = \tfrac34 (1 - t^2)_+,

where d is the share of pairs of observations that a task's model ranks in the other order, and 0
for the task itself.

.. [Wistuba2016] M. Wistuba, N. Schilling, L. Schmidt-Thieme. Two-Stage Transfer Surrogate Model for
   Automatic Hyperparameter Optimization. ECML PKDD 2016.
.. [Wistuba2018] M. Wistuba, N. Schilling, L. Schmidt-Thieme. Scalable Gaussian process-based
   transfer surrogates for hyperparameter optimization. Machine Learning 107, 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal

from metabo.baselines.rgpe import ranking_loss
from metabo.baselines.task_gps import EnsembleSearch

_ENOUGH = 2  # observations before there are pairs to rank
_BANDWIDTH = 0.1  # rho, the distance from which on a task has no weight


class TSTRSearch(EnsembleSearch):
    """Bayesian optimisation with the two-stage surrogate.

    Until there are two observations, all earlier tasks have the same weight, and all candidates
    the same variance.
    """

    def predict(self, indices: Tensor) -> Normal:
        """The surrogate."""
        means, _ = self.earlier(indices)
        if len(self.Y) < _ENOUGH:
            mean = means.mean(0)
            return Normal(mean, torch.full_like(mean, self.gps.runs.scale_of(self.Y)[1]))
        own = self.predict_own(self.fit_own(), indices)
        mean = self.weights() @ torch.cat([means, own.mean[None]])
        return Normal(mean, own.stddev)

    def weights(self) -> Tensor:
        """The weight of each earlier task's model, and of the task's own, `T + 1`."""
        predicted, _ = self.gps.predict(self.candidates)
        distances = ranking_distance(predicted[:, self.measured], self.Y.squeeze(-1))
        kernel = epanechnikov(torch.cat([distances, distances.new_zeros(1)]) / _BANDWIDTH)
        return kernel / kernel.sum()


def ranking_distance(predicted: Tensor, y: Tensor) -> Tensor:
    """The share of ordered pairs of observations that are ranked in the wrong order, T.

    Args:
        predicted: The values by each of T models, `T x n`, n > 1.
        y: The observed values, n.
    """
    n = len(y)
    return ranking_loss(predicted.unsqueeze(-2).expand(-1, n, -1), y) / (n * (n - 1))


def epanechnikov(t: Tensor) -> Tensor:
    """Epanechnikov's kernel, of any shape."""
    return 0.75 * (1 - t.square()).clamp_min(0.0)
