"""The inner loop for any `nn.Module` and any loss, through `torch.func`: the general, slower path.

A task's loss is a function of a list of weights, so that T tasks are one `vmap` over it and every
meta-gradient is one `grad`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from metabo.meta_training.inner_loop import Adapted

# From a network's outputs, b x 1, and the observations, b, to a number.
Loss = Callable[[Tensor, Tensor], Tensor]

# From the weights of one task, its minibatch X (b x e) and Y (b) to a number.
TaskLoss = Callable[[list[Tensor], Tensor, Tensor], Tensor]


def mean_squared_error(output: Tensor, y: Tensor) -> Tensor:
    """The mean squared error of `output`, `b x 1`, for observations `y`, `b`."""
    return (output.squeeze(-1) - y).square().mean()


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name: those that require gradients; all, if none does.

    Raises:
        ValueError: If there are none.
    """
    everything = dict(network.named_parameters())
    if not everything:
        raise ValueError("the network has no parameters: there is nothing to meta-train")
    wanted = {name: weight for name, weight in everything.items() if weight.requires_grad}
    return wanted or everything


def task_loss(network: nn.Module, loss: Loss = mean_squared_error) -> TaskLoss:
    """One task's loss as a function of the weights, in the order of `trainable`.

    Args:
        network: Maps `b x e` to `b x 1`. It must not change its buffers when called (batch
            normalisation): `vmap` would raise. What it draws (dropout, random weights) is drawn
            for each task on its own, from PyTorch's global generator: seed that yourself.
        loss: Differentiable.
    """
    names = list(trainable(network))

    def evaluate(weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        named = dict(zip(names, weights, strict=True))
        return loss(functional_call(network, named, (x,)), y)

    return evaluate


def descend(
    loss: TaskLoss,
    weights: list[Tensor],
    X: Tensor,
    Y: Tensor,
    step_size: float,
    *,
    first_order: bool = True,
) -> tuple[list[Tensor], Tensor]:
    """Take one task's weights through S steps of plain SGD, by operations that autograd can follow.

    Args:
        loss: The task's loss.
        weights: Where to start; they are not changed.
        X: `S x b x e`.
        Y: `S x b`.
        step_size: The step size of SGD.
        first_order: Whether the gradients count as constants when the result is differentiated.

    Returns:
        The last weights, and the losses before each step, `S`.
    """
    gradient = grad_and_value(loss)
    losses = []
    for x, y in zip(X.unbind(), Y.unbind(), strict=True):
        slopes, value = gradient(weights, x, y)
        if first_order:
            slopes = [slope.detach() for slope in slopes]
        weights = [w - step_size * slope for w, slope in zip(weights, slopes, strict=True)]
        losses.append(value)
    return weights, torch.stack(losses)


def adapt_weights(
    loss: TaskLoss, start: list[Tensor], X: Tensor, Y: Tensor, step_size: float
) -> Adapted:
    """Adapt to T tasks at once, as `metabo.meta_training.inner_loop.adapt` does for an MLP.

    Args:
        loss: A task's loss.
        start: Where every task starts from.
        X: `S x T x b x e`.
        Y: `S x T x b`.
        step_size: The step size of SGD.
    """

    def adapt_one(x: Tensor, y: Tensor) -> tuple[list[Tensor], Tensor]:
        return descend(loss, start, x, y, step_size)

    with torch.no_grad():
        layers, losses = vmap(adapt_one, in_dims=1, out_dims=(0, 1), randomness="different")(X, Y)
    return Adapted(layers, losses)
