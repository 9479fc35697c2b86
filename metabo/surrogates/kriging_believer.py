"""A model that goes on before all values are there, as the "kriging believer" [Ginsbourger2010]_.

.. [Ginsbourger2010] D. Ginsbourger, R. Le Riche, L. Carraro. Kriging Is Well-Suited to Parallelize
   Optimization. Computational Intelligence in Expensive Optimization Problems, 2010.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metabo.objective import Objective
from metabo.surrogates.mixture_prior_gp import MixturePriorGP


def believe(
    model: MixturePriorGP, X_pending: Tensor, X_failed: Tensor, objective: Objective | None
) -> MixturePriorGP:
    """The model as if it had been right where there is no value yet.

    Args:
        model: The surrogate given what was measured.
        X_pending: `p x d`, points that are being evaluated: the mean is taken for measured.
        X_failed: `f x d`, points where the evaluation failed: the worse end of the 90% interval is.
        objective: What is maximised; the response itself if None.
    """
    X = torch.cat([X_pending, X_failed])
    if len(X) == 0:
        return model
    posterior = model.mixture_posterior(X, model.conditioned, False)
    low, high = posterior.quantile(torch.tensor([0.05, 0.95]).double())
    worse = low
    if objective is not None:
        rises = objective(high, X) > objective(low, X)
        worse = torch.where(rises.unsqueeze(-1), low, high)
    is_pending = torch.arange(len(X)).unsqueeze(-1) < len(X_pending)
    return model.condition_on_observations(X, torch.where(is_pending, posterior.mean, worse))
