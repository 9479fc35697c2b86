"""Inverted k-fold cross-validation of few-shot learning: a fold is the support, the rest the query.

The points of a curve are cut into k folds at random. In turn each fold is what a method sees, n of
its points, and the points of all other folds are what it is scored on: against the truth, not the
noisy observations, and the same points for each n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metabo.benchmark.adapted_network import adapted_outputs
from metabo.network import MLP
from metabo.prior import Prior
from metabo.surrogates import MixturePosterior, MixturePriorGP
from parts.starting_points import Curves

# From support X (E x n x 1, encoded), Y (E x n) and query X (E x q x 1) to predictions, E x q: all
# in model units.
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]


def folds(num_points: int, fold_size: int, num_curves: int, seed: int) -> Tensor:
    """The points in the random order that folds are cut from, `T x k x fold_size`."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(num_curves, num_points, generator=generator).argsort(-1)
    count = num_points // fold_size
    return order[:, : count * fold_size].reshape(num_curves, count, fold_size)


def errors(test: Curves, cut: Tensor, n: int, predict: Predict) -> Tensor:
    """The squared error of each curve, `T`: the mean over folds and query points, in user's units.

    Args:
        test: Curves that nothing was trained on.
        cut: From `folds`.
        n: How many points of a fold are seen.
        predict: The method.
    """
    num_curves, count, _ = cut.shape
    others = torch.stack([cut[:, [j for j in range(count) if j != i]] for i in range(count)], 1)
    query, support = others.reshape(num_curves, count, -1), cut[..., :n]
    curve = torch.arange(num_curves)[:, None, None]
    X, Y, truth = test.batch.X, test.batch.Y, test.truth
    parts = X[curve, support], Y[curve, support], X[curve, query]
    found = predict(*(part.flatten(0, 1) for part in parts))
    missed = found.reshape(num_curves, count, -1) - truth[curve, query]
    return missed.square().mean((1, 2)) * test.scale**2


def by_gradient(network: MLP, steps: int, step_size: float) -> Predict:
    """A network, adapted by so many steps of SGD on all support points."""

    def predict(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        return adapted_outputs(network, X, Y, query, steps=steps, step_size=step_size)

    return predict


def by_mixture(prior: Prior, test: Curves) -> Predict:
    """Metabo's closed-form posterior mean; `test` has the model units that it is to answer in."""

    def predict(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        found = []
        for x, y, q in zip(X.split(10), Y.split(10), query.split(10), strict=True):
            values = (test.offset + test.scale * y).unsqueeze(-1)
            model = MixturePriorGP(test.users_x(x), values, prior)
            posterior = model.posterior(test.users_x(q))
            assert isinstance(posterior, MixturePosterior)
            found.append(posterior.mean)
        return (torch.cat(found).squeeze(-1) - test.offset) / test.scale

    return predict


def rows(
    problem: str, method: str, n: int, test: Curves, cut: Tensor, predict: Predict
) -> list[dict[str, Any]]:
    """A row for each curve."""
    return [
        {"problem": problem, "task": task, "method": method, "n": n, "squared_error": error}
        for task, error in enumerate(errors(test, cut, n, predict).tolist())
    ]
