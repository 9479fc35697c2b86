r"""The ranking-weighted Gaussian process ensemble (RGPE) of [Feurer2018]_.

The surrogate is the weighted sum of a Gaussian process for each earlier task and one for the task
itself,

.. math:: f \sim N\Big(\sum_i w_i \mu_i,\; \sum_i w_i^2 \sigma_i^2\Big).

The weight of a model is the share of posterior draws in which it ranks the new task's observations
with the fewest mistakes; the task's own model ranks each observation without having seen it. A
model that is clearly worse than the task's own gets no weight at all, so that many bad ones
together do not dilute it.

.. [Feurer2018] M. Feurer, B. Letham, F. Hutter, E. Bakshy. Practical Transfer Learning for Bayesian
   Optimization. arXiv:1802.02219.
"""

from __future__ import annotations

import torch
from botorch.models import SingleTaskGP
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import Tensor
from torch.distributions import Normal

from metabo.baselines.task_gps import EnsembleSearch
from metabo.baselines.vanilla_gp import quiet

_ENOUGH = 3  # observations before the task's own model can be judged by leaving one out
_LEFT_OUT = 1e8  # the noise variance, in units of Y's, that makes an observation say nothing
_QUANTILE = 0.95
_NUM_DRAWS = 256  # of each model, to be ranked


class RGPESearch(EnsembleSearch):
    """Bayesian optimisation with the ensemble.

    Until there are three observations, all earlier tasks have the same weight.
    """

    def predict(self, indices: Tensor) -> Normal:
        """The ensemble."""
        means, sds = self.earlier(indices)
        if len(self.Y) < _ENOUGH:
            weights = means.new_full((len(means),), 1 / len(means))
        else:
            model = self.fit_own()
            weights, own = self.weights(model), self.predict_own(model, indices)
            means = torch.cat([means, own.mean[None]])
            sds = torch.cat([sds, own.stddev[None]])
        return Normal(weights @ means, (weights.square() @ sds.square()).sqrt())

    def weights(self, own: SingleTaskGP) -> Tensor:
        """The weight of each earlier task's model, and of the task's own, `T + 1`."""
        generator = torch.Generator().manual_seed(self.seed + len(self.Y))
        normal = torch.randn(_NUM_DRAWS, len(self.Y), generator=generator, dtype=self.Y.dtype)
        y = self.Y.squeeze(-1)
        with torch.no_grad(), quiet():
            losses = []
            for model in self.gps.models:
                found = model.posterior(self.X)
                covariance = found.distribution.covariance_matrix  # type: ignore[union-attr]
                draws = _draw(found.mean.squeeze(-1), covariance, normal)
                losses.append(ranking_loss(draws.unsqueeze(-2).expand(-1, len(y), -1), y))
            losses.append(ranking_loss(_draw(*leave_one_out(own, self.X), normal), y))
        return loss_weights(torch.stack(losses))


def _draw(mean: Tensor, covariance: Tensor, normal: Tensor) -> Tensor:
    """Draws, `S x ... x n`, of n values by means and covariances, from standard normal `S x n`."""
    root = psd_safe_cholesky(covariance)
    return mean + torch.einsum("...kl,sl->s...k", root, normal)


def ranking_loss(draws: Tensor, y: Tensor) -> Tensor:
    """How many ordered pairs of observations each draw ranks in the wrong order, S.

    Args:
        draws: `S x n x n`: the value at observation k by the model that is to predict j, which has
            not seen it; for a model that has seen none they are the same for all j.
        y: The observed values, n.
    """
    predicted = draws.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    wrong = (predicted < draws) ^ (y.unsqueeze(-1) < y)
    return wrong.sum((-2, -1)).double()


def leave_one_out(model: SingleTaskGP, X: Tensor) -> tuple[Tensor, Tensor]:
    """The posterior at all n observed points with each left out in turn, hyperparameters kept.

    Args:
        model: Fitted to observations at X.
        X: `n x d`.

    Returns:
        Means `n x n`, and covariances `n x n x n`, in the model's standardised units.
    """
    prior = model.forward(model.transform_inputs(X))
    mean, K, n = prior.mean, prior.covariance_matrix, len(X)
    noise = model.likelihood.noise + _LEFT_OUT * torch.eye(n).to(K)
    root = torch.linalg.cholesky(K + torch.diag_embed(noise))
    half = torch.linalg.solve_triangular(root, K.expand(n, n, n), upper=False)
    residual = (model.train_targets - mean).expand(n, n).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(root, residual, upper=False)
    return mean + (half.mT @ whitened).squeeze(-1), K - half.mT @ half


def loss_weights(losses: Tensor) -> Tensor:
    """The share of draws in which each model has the smallest loss, `T + 1`.

    The last model, the task's own, wins where it is among the best; others share. An earlier task's
    model has no chance if its median loss is above the 95th percentile of the last model's.

    Args:
        losses: `(T + 1) x S`.
    """
    limit = losses[-1].quantile(_QUANTILE)
    dropped = losses.median(-1).values > limit
    dropped[-1] = False
    losses = losses.masked_fill(dropped.unsqueeze(-1), torch.inf)
    best = losses == losses.amin(0)
    best[:-1] &= ~best[-1]
    return (best.double() / best.sum(0)).mean(-1)
