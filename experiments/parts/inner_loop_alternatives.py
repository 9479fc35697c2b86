"""Other ways to run Reptile's inner loop, for `reptile_speed.py` to compare with ours.

Each takes the augmented matrices of one tanh network, X (S x T x b x e), Y (S x T x b) and a step
size, and returns a function without arguments that adapts to all T tasks: what it leaves, T x ...
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from metabo.meta_training.autograd_loop import adapt_weights, task_loss
from metabo.meta_training.cuda_graph import adapt_by_graph
from metabo.meta_training.fused_kernel import adapt_by_kernel
from metabo.meta_training.fused_loop import is_compiled
from metabo.meta_training.inner_loop import adapt_layers
from metabo.network import MLP, stacked_output
from parts.fused_inner_loop import COMPILER, cpp

Run = Callable[[], Any]
STEP_SIZE = 0.02


def compiled(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """Ours: each task through all its steps in one call of compiled C."""
    return lambda: adapt_layers(list(network.layers), "tanh", X, Y, STEP_SIZE).layers


def compiled_on_one_thread(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """Ours where there are more threads, on one of them."""
    ours, threads = compiled(network, X, Y), torch.get_num_threads()

    def run() -> list[Tensor]:
        torch.set_num_threads(1)
        try:
            return ours()
        finally:
            torch.set_num_threads(threads)

    return run


def written_out(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """Ours without a compiler: stacked, backward by hand, buffers reused, in chunks."""
    start = list(network.layers)
    return lambda: adapt_layers(start, "tanh", X, Y, STEP_SIZE, compiled=False).layers


def fused_kernel(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """Ours on a GPU: each task through all its steps in one kernel."""
    return lambda: adapt_by_kernel(list(network.layers), "tanh", X, Y, STEP_SIZE).layers


def cuda_graph(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """Ours on a GPU without Triton: stacked operations, captured once and replayed."""
    return lambda: adapt_by_graph(list(network.layers), "tanh", X, Y, STEP_SIZE).layers


def vmap_grad(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """Ours for any module and loss: `torch.func.vmap` over `grad`."""
    start = [w.detach() for w in network.layers]
    return lambda: adapt_weights(task_loss(network), start, X, Y, STEP_SIZE).layers


def one_at_a_time(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """A Python loop over tasks, `nn.Module` and `torch.optim.SGD`: the related code's way."""

    def run() -> list[Tensor]:
        finals = [_one_task(network, X[:, t], Y[:, t]) for t in range(X.shape[1])]
        return [torch.stack(ws) for ws in zip(*finals, strict=True)]

    return run


def _one_task(network: MLP, X: Tensor, Y: Tensor) -> list[Tensor]:
    linears = [nn.Linear(w.shape[0] - 1, w.shape[1]) for w in network.layers]
    for linear, w in zip(linears, network.layers, strict=True):
        linear.weight.data, linear.bias.data = w.detach()[:-1].T.clone(), w.detach()[-1].clone()
    between = [module for linear in linears for module in (linear, nn.Tanh())]
    own = nn.Sequential(*between[:-1])
    optimizer = torch.optim.SGD(own.parameters(), lr=STEP_SIZE)
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        nn.functional.mse_loss(own(x).squeeze(-1), y).backward()
        optimizer.step()
    return [torch.cat([li.weight.detach().T, li.bias.detach()[None]]) for li in linears]


def stacked_autograd(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """One stack of weights and batched products, but autograd's backward pass."""

    def run() -> list[Tensor]:
        weights = [w.detach().expand(X.shape[1], *w.shape).clone() for w in network.layers]
        for x, y in zip(X, Y, strict=True):
            weights = [w.requires_grad_() for w in weights]
            error = stacked_output(weights, x, "tanh").squeeze(-1) - y
            slopes = torch.autograd.grad(error.square().mean(-1).sum(), weights)
            with torch.no_grad():
                weights = [w.sub_(s, alpha=STEP_SIZE) for w, s in zip(weights, slopes, strict=True)]
        return [w.detach() for w in weights]

    return run


def jax_autograd(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """JAX: `jit(scan(vmap(grad)))`."""
    import jax

    def step(weights: list[Any], batch: tuple[Any, Any]) -> tuple[list[Any], None]:
        slopes = jax.vmap(jax.grad(loss))(weights, *batch)
        return [w - STEP_SIZE * s for w, s in zip(weights, slopes, strict=True)], None

    def loss(weights: list[Any], x: Any, y: Any) -> Any:
        return ((_jax_forward(weights, x)[-1][..., 0] - y) ** 2).mean()

    return _jax_scan(step, network, X, Y)


def jax_written_out(network: MLP, X: Tensor, Y: Tensor) -> Run:
    """JAX with the backward pass by hand."""

    def step(weights: list[Any], batch: tuple[Any, Any]) -> tuple[list[Any], None]:
        x, y = batch
        *layers, output = _jax_forward(weights, x)
        g = 2 * (output - y[..., None]) / y.shape[-1]
        new = []
        for i in range(len(weights) - 1, -1, -1):
            new.append(weights[i] - STEP_SIZE * layers[i].swapaxes(-1, -2) @ g)
            if i:
                h = layers[i][..., :-1]
                g = (g @ weights[i][..., :-1, :].swapaxes(-1, -2)) * (1 - h * h)
        return new[::-1], None

    return _jax_scan(step, network, X, Y)


def _jax_forward(weights: list[Any], x: Any) -> list[Any]:
    """Every layer's input with its column of ones, and the output."""
    import jax.numpy as jnp

    layers = [jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)]
    for w in weights[:-1]:
        h = jnp.tanh(layers[-1] @ w)
        layers.append(jnp.concatenate([h, jnp.ones_like(h[..., :1])], -1))
    return [*layers, layers[-1] @ weights[-1]]


def _jax_scan(step: Any, network: MLP, X: Tensor, Y: Tensor) -> Run:
    import jax
    import jax.numpy as jnp

    def run(start: list[Any], x: Any, y: Any) -> list[Any]:
        stack = [jnp.broadcast_to(w, (x.shape[1], *w.shape)) for w in start]
        return jax.lax.scan(step, stack, (x, y))[0]

    jitted = jax.jit(run)
    device = jax.devices("gpu" if X.is_cuda else "cpu")[0]
    place = [jax.device_put(w.detach().cpu().numpy(), device) for w in (*network.layers, X, Y)]
    *start, x, y = place

    def call() -> Any:
        with jax.default_matmul_precision("float32"):  # as ours: on a GPU, JAX would take TF32
            return jax.block_until_ready(jitted(start, x, y))

    return call


IMPLEMENTATIONS: dict[str, Callable[[MLP, Tensor, Tensor], Run]] = {
    f.__name__: f
    for f in (
        compiled,
        compiled_on_one_thread,
        written_out,
        fused_kernel,
        cuda_graph,
        stacked_autograd,
        vmap_grad,
        one_at_a_time,
    )
}
ON_GPU = ("fused_kernel", "cuda_graph")
if not is_compiled():
    del IMPLEMENTATIONS["compiled"], IMPLEMENTATIONS["compiled_on_one_thread"]
if COMPILER:
    IMPLEMENTATIONS |= {"cpp": partial(cpp, step_size=STEP_SIZE)}
if importlib.util.find_spec("jax"):
    IMPLEMENTATIONS |= {f.__name__: f for f in (jax_autograd, jax_written_out)}
