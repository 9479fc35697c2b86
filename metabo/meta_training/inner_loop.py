r"""The inner loop: S steps of SGD on T copies of one network at once, backward written out.

In single precision on a CPU it is compiled (`fused_loop.c`); elsewhere it is what follows. For
every task, with :math:`h_l = [\sigma(h_{l-1} W_l), 1]` and the mean squared error over b
points, one step is

.. math::
    r = \rho\, (h_L w - y), \quad g_L = (r w^\top) \odot \sigma'(h_L), \quad
    g_{l-1} = (g_l W_l^\top) \odot \sigma'(h_{l-1}), \quad
    W_l \leftarrow W_l + h_{l-1}^\top g_l

with :math:`\rho = -2 \alpha / b`, so that the step size is in the residual and needs no operation
of its own. Small stacks are bound by the number of operations dispatched and large ones by memory.
So every operation works on the whole stack and writes into a buffer that is kept; the update is
the tail of a matrix product; the bias is the row of `W` that meets the column of ones; and a stack
is cut into chunks that fit the cache, each taken through all its steps.

On a CPU a tanh network runs as a sigmoid network, whose activation takes a fraction of the time:
:math:`\tanh(z) = 2 s(2 z) - 1`. Halve all that goes into a layer, :math:`h' = h / 2 = s - 1/2`,
and take :math:`V = 4 W`: then :math:`h' V = 2 h W`, the sigmoid's derivative is what the chain
rule asks for, and SGD with 16 times the step size takes the same steps, as
:math:`V / 4 = W`. All factors are powers of two, so nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metabo.cores import num_cores, on_cores
from metabo.meta_training import fused_loop
from metabo.network import MLP

# A chunk's working set, measured: best are about 150 tasks of width 32, or 16 of width 128.
CACHE_BYTES = 3 << 20
# The working set that is worth a thread: under it, threads wait for the interpreter's lock.
THREAD_BYTES = 1 << 20
# Smaller products PyTorch does by a plain loop, and larger ones by a library.
_PLAIN_LOOP = 400


class Adapted(NamedTuple):
    """What the inner loop leaves of T tasks."""

    layers: list[Tensor]  # each T x (in + 1) x out
    losses: Tensor  # S x T: each step's mean squared error, before that step


class Activation(NamedTuple):
    """An activation on buffers: `forward` from z to h, `backward` multiplies g in place."""

    forward: Callable[[Tensor, Tensor], object]  # (z, h); it may leave something else in z
    backward: Callable[[Tensor, Tensor, Tensor], object]  # (g, z, h)
    # What goes into a layer is multiplied with `shrink`, and the weights with its square's inverse.
    shrink: float = 1.0


# PyTorch's own, without the wrapper, which takes as long as the arithmetic of a small stack.
_tanh_backward = torch.ops.aten.tanh_backward.grad_input._op
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input._op
_relu_backward = torch.ops.aten.threshold_backward.grad_input._op
_silu = torch.ops.aten.silu.out._op
_silu_backward = torch.ops.aten.silu_backward.grad_input._op
_HALF = torch.tensor(0.5)


def _centred_sigmoid(z: Tensor, h: Tensor) -> None:
    torch.sub(z.sigmoid_(), _HALF, out=h)


_TANH_CPU = Activation(
    _centred_sigmoid, lambda g, z, h: _sigmoid_backward(g, z, grad_input=g), shrink=0.5
)
_ACTIVATIONS = {
    "tanh": Activation(
        lambda z, h: torch.tanh(z, out=h),
        lambda g, z, h: _tanh_backward(g, h, grad_input=g),
    ),
    "sigmoid": Activation(
        lambda z, h: torch.sigmoid(z, out=h),
        lambda g, z, h: _sigmoid_backward(g, h, grad_input=g),
    ),
    "relu": Activation(
        lambda z, h: torch.clamp_min(z, 0.0, out=h),
        lambda g, z, h: _relu_backward(g, h, 0.0, grad_input=g),
    ),
    "silu": Activation(
        lambda z, h: _silu(z, out=h),
        lambda g, z, h: _silu_backward(g, z, grad_input=g),
    ),
}


def _activation(name: str, device: torch.device) -> Activation:
    return _TANH_CPU if name == "tanh" and device.type == "cpu" else _ACTIVATIONS[name]


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
    start: Sequence[Tensor],
    activation: str,
    X: Tensor,
    Y: Tensor,
    step_size: float,
    *,
    compiled: bool = True,
) -> Adapted:
    """`adapt` from the augmented matrices `start`, each `(in + 1) x out`.

    `compiled` is whether to use the compiled loop where it can be.
    """
    num_tasks = X.shape[1]
    compiled = compiled and fused_loop.can_run(start, activation, X, Y)
    descend = fused_loop.descend if compiled else _descend
    with torch.no_grad():
        # A clone: expand(...).contiguous() of one task would alias the start, then change it.
        whole = {"memory_format": torch.contiguous_format}
        layers = [w.expand(num_tasks, *w.shape).clone(**whole) for w in start]
        losses = X.new_empty(X.shape[:2])

    def run(chunk: slice) -> None:
        with torch.inference_mode():  # less to dispatch than no_grad; it belongs to the thread
            own = [w[chunk] for w in layers]
            losses[:, chunk] = descend(own, activation, X[:, chunk], Y[:, chunk], step_size)

    if X.device.type == "cpu":
        on_cores(run, chunks(start, X, num_cores()))
    else:
        run(slice(None))
    return Adapted(layers, losses)


def chunks(start: Sequence[Tensor], X: Tensor, threads: int) -> list[slice]:
    """Cut T tasks so that each chunk's weights and activations fit the cache of a core."""
    num_tasks, num_points = X.shape[1:3]
    widths = [w.shape[1] for w in start]
    numbers = sum(w.numel() for w in start) + 3 * num_points * sum(widths)
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
    shrink = act.shrink
    rho = -2.0 * step_size / num_points / shrink**2
    torch._foreach_div_(layers, shrink**2)
    *hidden, head = layers
    x1 = X.new_full((*X.shape[:-1], X.shape[-1] + 1), shrink)  # [x, 1]
    torch.mul(X, shrink, out=x1[..., :-1])
    residuals = Y.mul(-rho / shrink).unsqueeze(-1)  # to which the head's product is added
    h1 = [X.new_full((num_tasks, num_points, w.shape[2] + 1), shrink) for w in hidden]  # [h, 1]
    z = [X.new_empty(num_tasks, num_points, w.shape[2]) for w in hidden]
    g = [torch.empty_like(a) for a in z]
    # Every view that the steps need is made once, here: it costs as much as a small product.
    h = [a[..., :-1] for a in h1]
    h1_t = [a.mT for a in h1]
    weights_t = [w[:, :-1].mT for w in hidden]
    up = list(zip(hidden, z, h, h1, strict=True))
    # From the last hidden layer down to the second, each with the layer below it.
    down = list(zip(g[1:], z[1:], h[1:], weights_t[1:], g, hidden[1:], h1_t, strict=False))[::-1]
    output_layer = _output_layer(head, h1[-1], g[-1], rho)
    for x, x_t, r in zip(x1.unbind(), x1.mT.unbind(), residuals.unbind(), strict=True):
        below = x
        for w, z_l, h_l, h1_l in up:
            torch.bmm(below, w, out=z_l)
            act.forward(z_l, h_l)
            below = h1_l
        output_layer(r)
        for g_l, z_l, h_l, w_t, g_below, w, h1_t_below in down:
            act.backward(g_l, z_l, h_l)
            torch.bmm(g_l, w_t, out=g_below)
            w.baddbmm_(h1_t_below, g_l)
        act.backward(g[0], z[0], h[0])
        hidden[0].baddbmm_(x_t, g[0])
    torch._foreach_mul_(layers, shrink**2)
    return residuals.squeeze(-1).div_(rho / shrink).square_().mean(-1)


def _output_layer(head: Tensor, h1: Tensor, g: Tensor, rho: float) -> Callable[[Tensor], None]:
    """The output layer's part of a step on residuals r: r += rho h w, g = r wᵀ, w += hᵀ r."""
    slopes, head_t, h1_t = head[:, :-1].mT, head.mT, h1.mT

    def by_columns(r: Tensor) -> None:
        r.baddbmm_(h1, head, alpha=rho)
        torch.mul(r, slopes, out=g)
        head.baddbmm_(h1_t, r)

    def by_rows(r: Tensor) -> None:
        r_t = r.mT
        r_t.baddbmm_(head_t, h1_t, alpha=rho)
        torch.mul(r, slopes, out=g)
        head_t.baddbmm_(r_t, h1)

    # The library multiplies by rows up to ten times as fast, the loop a third more slowly.
    return by_columns if h1[0].numel() < _PLAIN_LOOP else by_rows
