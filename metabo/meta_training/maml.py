r"""MAML and its first-order form, for comparison with Reptile [Finn2017]_.

Both move the weights down the gradient of the adapted weights' loss on a minibatch that the inner
loop has not seen. MAML follows the gradient through the inner loop; first-order MAML takes it at
the adapted weights, as if these had moved one to one with the start.

.. [Finn2017] C. Finn, P. Abbeel, S. Levine. Model-Agnostic Meta-Learning for Fast Adaptation of
    Deep Networks. arXiv:1703.03400.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad, vmap

from metabo.meta_training.autograd_loop import descend
from metabo.meta_training.learner import Learner
from metabo.meta_training.meta_gradient import Displacement, MetaGradient


def _maml(
    learner: Learner, weights: list[Tensor], X: Tensor, Y: Tensor, step_size: float
) -> Displacement:
    def query_loss(start: list[Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        adapted, losses = descend(learner.loss, start, x[:-1], y[:-1], step_size, first_order=False)
        return learner.loss(adapted, x[-1], y[-1]), losses

    def mean_query_loss(start: list[Tensor]) -> tuple[Tensor, Tensor]:
        queries, losses = vmap(query_loss, in_dims=(None, 1, 1), randomness="different")(
            start, X, Y
        )
        return queries.mean(), losses.mean(0)

    with torch.no_grad():
        gradient, losses = grad(mean_query_loss, has_aux=True)(weights)
    return Displacement([-g for g in gradient], losses)


def _first_order_maml(
    learner: Learner, weights: list[Tensor], X: Tensor, Y: Tensor, step_size: float
) -> Displacement:
    adapted = learner.adapt(weights, X[:-1], Y[:-1], step_size)
    with torch.no_grad():
        gradients = vmap(grad(learner.loss), randomness="different")(adapted.layers, X[-1], Y[-1])
    return Displacement([-g.mean(0) for g in gradients], adapted.losses.mean(1))


MAML = MetaGradient("MAML", _maml, queries=1)
FIRST_ORDER_MAML = MetaGradient("first-order MAML", _first_order_maml, queries=1)
