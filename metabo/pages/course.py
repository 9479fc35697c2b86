"""How a session went: after each observation, the best so far and what was still to be gained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.optimizer import Optimizer
from metabo.surrogates import MixturePriorGP

_MOST = 40  # observations after which it is told; more would take long and show little more
_POOL, _DRAWS = 256, 64


@dataclass(frozen=True)
class Step:
    """After n observations.

    Attributes:
        n: How many.
        best: The best value so far that met the constraints, in the user's units; NaN if none did.
        prior_weight: The share of the posterior that rests on the Prior.
        regret: By how much the best point of all is expected to be better than the best one
            so far, in the user's units; NaN with constraints.
    """

    n: int
    best: float
    prior_weight: float
    regret: float


def course(optimizer: Optimizer) -> list[Step]:
    """The steps of a session without an objective of its own, from n = 0."""
    X, Y = optimizer.observations
    count = len(Y)
    chosen = torch.linspace(0, count, min(count, _MOST) + 1).round().long().unique().tolist()
    return [_step(optimizer, X[:n], Y[:n], optimizer.met[:n]) for n in chosen]


def _step(optimizer: Optimizer, X: Tensor, Y: Tensor, met: Tensor) -> Step:
    learned = optimizer.prior.sign
    better = -1.0 if optimizer.minimize else 1.0
    model = MixturePriorGP(X, learned * Y, optimizer.prior)
    values = (better * Y.squeeze(-1)).masked_fill(~met, -math.inf)
    is_known = bool(met.any())
    is_plain = not optimizer.constraints and len(Y) > 0
    return Step(
        n=len(Y),
        best=better * float(values.max()) if is_known else math.nan,
        prior_weight=float(model.prior_weight),
        regret=_regret(model, X[values.argmax()], better * learned) if is_plain else math.nan,
    )


def _regret(model: MixturePriorGP, best: Tensor, sign: float) -> float:
    pool = torch.cat([best[None], model.prior.space.sample(_POOL, seed=0)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        posterior = model.mixture_posterior(pool, model.conditioned, False)
        draws = sign * posterior.rsample(torch.Size([_DRAWS])).squeeze(-1)
    return float((draws.amax(-1) - draws[:, 0]).mean())
