"""What a meta-gradient needs to know of a network and its loss, whichever inner loop runs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from metabo.meta_training import fused_kernel
from metabo.meta_training.autograd_loop import (
    Loss,
    TaskLoss,
    adapt_weights,
    mean_squared_error,
    task_loss,
    trainable,
)
from metabo.meta_training.cuda_graph import adapt_by_graph
from metabo.meta_training.fused_kernel import adapt_by_kernel
from metabo.meta_training.inner_loop import Adapted, adapt_layers
from metabo.network import MLP


class Learner(NamedTuple):
    """How a network learns one task.

    Attributes:
        loss: The loss of one task at its weights, differentiable.
        adapt: The inner loop: from the weights, X (`S x T x b x e`), Y (`S x T x b`) and the step
            size to what T tasks make of them.
    """

    loss: TaskLoss
    adapt: Callable[[list[Tensor], Tensor, Tensor, float], Adapted]


def choose_learner(network: nn.Module, loss: Loss | None = None) -> Learner:
    """The fastest inner loop that can run this network and loss.

    Args:
        network: Maps `b x e` to `b x 1`.
        loss: The mean squared error if None.
    """
    evaluate = task_loss(network, loss or mean_squared_error)
    if not isinstance(network, MLP) or loss is not None or _has_frozen(network):
        return Learner(evaluate, partial(adapt_weights, evaluate))

    def adapt(weights: list[Tensor], X: Tensor, Y: Tensor, step_size: float) -> Adapted:
        return _choose(weights, X)(weights, network.activation, X, Y, step_size)

    return Learner(evaluate, adapt)


def _choose(weights: list[Tensor], X: Tensor) -> Callable[..., Adapted]:
    if not X.is_cuda:
        return adapt_layers
    return adapt_by_kernel if fused_kernel.can_run(weights, X) else adapt_by_graph


def _has_frozen(network: MLP) -> bool:
    return len(trainable(network)) < len(network.layers)
