r"""The inner loop: S steps of SGD on T copies of one network at once, backward written out.

For every task, with :math:`h_l = [\sigma(h_{l-1} W_l), 1]` and the mean squared error over b
points, one step is

.. math::
    g_L = \tfrac{2}{b} (h_L w - y), \quad
    g_{l-1} = (g_l W_l^\top) \odot \sigma'(h_{l-1}), \quad
    W_l \leftarrow W_l - \alpha\, h_{l-1}^\top g_l

Small stacks are bound by the number of operations dispatched and large ones by memory. So every
operation works on the whole stack and writes into a buffer that is kept; the update is the tail of
a matrix product; the bias is the row of `W` that meets the column of ones; and a stack is cut into
chunks that fit the cache, each taken through all its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metabo.cores import num_cores, on_cores
from metabo.network import MLP

# A chunk's working set, measured from width 32 to 128: it ends between second and third level.
CACHE_BYTES = 9 << 19
# The working set that is worth a thread: under it, threads wait for the interpreter's lock.
THREAD_BYTES = 1 << 20


class Adapted(NamedTuple):
    """What the inner loop leaves of T tasks."""

    layers: list[Tensor]  # each T x (in + 1) x out
    losses: Tensor  # S x T: each step's mean squared error, before that step


class Activation(NamedTuple):
    """An activation on buffers: `forward` from z to h, `backward` multiplies g in place."""

    scale: float  # what `forward` wants z multiplied with: free of charge in the matrix product
    forward: Callable[[Tensor, Tensor], object]  # (z, h)
    backward: Callable[[Tensor, Tensor, Tensor], object]  # (g, z, h)
    keeps_z: bool = False  # whether `backward` reads z, which then cannot share its buffer with g


def _tanh_by_sigmoid(z: Tensor, h: Tensor) -> None:
    # tanh(z) = 2 sigmoid(2 z) - 1: on a CPU torch.tanh takes several times torch.sigmoid.
    torch.sigmoid(z, out=z)
    torch.add(_MINUS_ONE, z, alpha=2, out=h)


_MINUS_ONE = torch.tensor(-1.0)
# Looked up once: an attribute of torch.ops takes as long as the arithmetic of a small stack.
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_relu_backward = torch.ops.aten.threshold_backward.grad_input
_silu = torch.ops.aten.silu.out
_silu_backward = torch.ops.aten.silu_backward.grad_input

_TANH = Activation(
    1.0,
    lambda z, h: torch.tanh(z, out=h),
    lambda g, z, h: _tanh_backward(g, h, grad_input=g),
)
_TANH_CPU = _TANH._replace(scale=2.0, forward=_tanh_by_sigmoid)
_SIGMOID = Activation(
    1.0,
    lambda z, h: torch.sigmoid(z, out=h),
    lambda g, z, h: _sigmoid_backward(g, h, grad_input=g),
)
_RELU = Activation(
    1.0,
    lambda z, h: torch.clamp_min(z, 0.0, out=h),
    lambda g, z, h: _relu_backward(g, h, 0.0, grad_input=g),
)
_SILU = Activation(
    1.0,
    lambda z, h: _silu(z, out=h),
    lambda g, z, h: _silu_backward(g, z, grad_input=g),
    keeps_z=True,
)


def _activation(name: str, device: torch.device) -> Activation:
    if name == "tanh" and device.type == "cpu":
        return _TANH_CPU
    return {"tanh": _TANH, "sigmoid": _SIGMOID, "relu": _RELU, "silu": _SILU}[name]


def adapt(network: MLP, X: Tensor, Y: Tensor, step_size: float) -> Adapted:
    """Adapt a network to T tasks at once, each by S steps of plain SGD on the mean squared error.

    Args:
        network: Where every task starts from; it is not changed.
        X: `S x T x b x e` encoded inputs, one minibatch of b points for each step and task.
        Y: `S x T x b` outputs.
        step_size: The step size of SGD.

    Returns:
        Every task's weights after the last step, and the losses. Not finite where a task diverged.
    """
    return adapt_layers(list(network.layers), network.activation, X, Y, step_size)


def adapt_layers(
    start: Sequence[Tensor], activation: str, X: Tensor, Y: Tensor, step_size: float
) -> Adapted:
    """`adapt` from the augmented matrices `start`, each `(in + 1) x out`."""
    num_tasks = X.shape[1]
    with torch.no_grad():
        # A clone: expand(...).contiguous() of one task would alias the start, then change it.
        layers = [w.expand(num_tasks, *w.shape).clone() for w in start]
        losses = X.new_empty(X.shape[:2])

    def run(chunk: slice) -> None:
        with torch.inference_mode():  # less to dispatch than no_grad; it belongs to the thread
            own = [w[chunk] for w in layers]
            losses[:, chunk] = _descend(own, activation, X[:, chunk], Y[:, chunk], step_size)

    if X.device.type == "cpu":
        on_cores(run, chunks(start, X, num_cores()))
    else:
        run(slice(None))
    return Adapted(layers, losses)


def chunks(start: Sequence[Tensor], X: Tensor, threads: int) -> list[slice]:
    """Cut T tasks so that each chunk's weights and activations fit the cache of a core."""
    num_tasks, num_points = X.shape[1:3]
    widths = [w.shape[1] for w in start]
    numbers = sum(w.numel() for w in start) + 2 * num_points * sum(widths)
    working_set = num_tasks * numbers * X.element_size()
    count = -(-working_set // CACHE_BYTES)
    if working_set >= threads * THREAD_BYTES:
        count = -(-count // threads) * threads
    count = min(count, num_tasks)
    return [slice(num_tasks * i // count, num_tasks * (i + 1) // count) for i in range(count)]


def _descend(
    layers: list[Tensor], activation: str, X: Tensor, Y: Tensor, step_size: float
) -> Tensor:
    """Take one chunk through all its steps, in place in `layers`; returns the losses, S x T."""
    num_tasks, num_points = X.shape[1:3]
    act = _activation(activation, X.device)
    *hidden, head = layers
    x1 = X.new_ones(*X.shape[:-1], X.shape[-1] + 1)  # [x, 1]
    x1[..., :-1] = X
    residuals = Y.neg().unsqueeze(-1)  # to which the head's product is added: h_L w - y
    h1 = [X.new_ones(num_tasks, num_points, w.shape[2] + 1) for w in hidden]  # [h, 1]
    z = [X.new_empty(num_tasks, num_points, w.shape[2]) for w in hidden]
    g = [torch.empty_like(a) for a in z] if act.keeps_z else z
    # Every view that the steps need is made once, here: it costs as much as a small product.
    h = [a[..., :-1] for a in h1]
    h1_t = [a.mT for a in h1]
    weights_t = [w[:, :-1].mT for w in layers]
    up = list(zip(hidden, z, h, h1, strict=True))
    # From the last hidden layer down to the second, each with the layer below it.
    down = list(zip(g[1:], z[1:], h[1:], weights_t[1:-1], g, hidden[1:], h1_t, strict=False))[::-1]
    rate = -2.0 * step_size / num_points
    for x, x_t, r in zip(x1.unbind(), x1.mT.unbind(), residuals.unbind(), strict=True):
        below = x
        for w, z_l, h_l, h1_l in up:
            z_l.baddbmm_(below, w, beta=0, alpha=act.scale)
            act.forward(z_l, h_l)
            below = h1_l
        r.baddbmm_(below, head)
        torch.mul(r, weights_t[-1], out=g[-1])
        head.baddbmm_(h1_t[-1], r, alpha=rate)
        for g_l, z_l, h_l, w_t, g_below, w, h1_t_below in down:
            act.backward(g_l, z_l, h_l)
            torch.bmm(g_l, w_t, out=g_below)
            w.baddbmm_(h1_t_below, g_l, alpha=rate)
        act.backward(g[0], z[0], h[0])
        hidden[0].baddbmm_(x_t, g[0], alpha=rate)
    return residuals.squeeze(-1).square().mean(-1)
