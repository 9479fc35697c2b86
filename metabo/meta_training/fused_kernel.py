"""The inner loop on a GPU in one kernel (`triton_kernel.py`), where Triton is and a task fits.

PyTorch for CUDA brings Triton on Linux. A kernel is compiled at the first call with a network's
shape, in a second or so, and kept in Triton's cache; elsewhere, `cuda_graph` does the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise

import torch
from torch import Tensor

from metabo.meta_training.inner_loop import Adapted

# As large as has been measured to pay: of any one layer, and of all activations together.
WIDEST = 128
_LARGEST = 6400
_RESIDENT = 3072  # weights in registers
# PyTorch's name of how exact a product must be, and Triton's.
_PRECISION = {"highest": "tf32x3", "high": "tf32", "medium": "tf32"}


def can_run(start: Sequence[Tensor], X: Tensor) -> bool:
    """Whether there is a kernel for these on their device."""
    sizes, points = _sizes(start), _block(X.shape[2])
    blocks = [_block(n) for n in sizes]
    return (
        X.dtype == torch.float32
        and len(start) > 1
        and max(blocks) <= WIDEST
        and points * sum(blocks) <= _LARGEST
        and _has_kernel(X.device)
    )


def adapt_by_kernel(
    start: Sequence[Tensor], activation: str, X: Tensor, Y: Tensor, step_size: float
) -> Adapted:
    """What `inner_loop.adapt_layers` does, in single precision.

    Its products are exact to some 2⁻²¹ of what they sum unless PyTorch's own switch,
    `torch.set_float32_matmul_precision`, allows TF32.
    """
    with torch.no_grad():
        layers = [w.new_empty(X.shape[1], *w.shape).copy_(w) for w in start]
        losses = descend(layers, activation, X, Y, step_size)
    return Adapted(layers, losses)


def descend(
    layers: Sequence[Tensor], activation: str, X: Tensor, Y: Tensor, step_size: float
) -> Tensor:
    """Take T tasks through all their steps, in place in `layers`; returns the losses, S x T."""
    from metabo.meta_training.triton_kernel import descend as kernel

    X = X if X[0, 0].is_contiguous() else X.contiguous()
    Y = Y if Y[0, 0].is_contiguous() else Y.contiguous()
    num_steps, num_tasks, num_points = Y.shape
    losses = X.new_empty(num_steps, num_tasks)
    sizes = _sizes(layers)
    with torch.cuda.device_of(X):
        kernel[(num_tasks,)](
            tuple(layers),
            X,
            Y,
            losses,
            *X.stride()[:2],
            *Y.stride()[:2],
            num_tasks,
            num_steps,
            num_points,
            -2.0 * step_size / num_points,
            **constants(sizes, num_points, activation),
            num_warps=num_warps(sizes, num_tasks, _multiprocessors(X.device)),
        )
    return losses


def constants(sizes: Sequence[int], num_points: int, activation: str) -> dict[str, object]:
    """What a kernel is compiled for."""
    return {
        "sizes": tuple(sizes),
        "blocks": tuple(_block(n) for n in sizes),
        "points": _block(num_points),
        "activation": activation,
        "precision": _PRECISION[torch.get_float32_matmul_precision()],
        "resident": is_resident(sizes, num_points),
    }


def is_resident(sizes: Sequence[int], num_points: int) -> bool:
    """Whether registers hold a task's weights, which pays as long as they hold all."""
    blocks = [_block(n) for n in sizes]
    weights = sum(i * j for i, j in pairwise(blocks))
    return max(*blocks, 2 * _block(num_points)) <= 32 and weights <= _RESIDENT


def num_warps(sizes: Sequence[int], num_tasks: int, multiprocessors: int) -> int:
    """Warps of 32 threads that share a task: fewer where all multiprocessors have tasks enough."""
    few = num_tasks <= 2 * multiprocessors
    if max(sizes) <= 32:
        return 4 if few else 2
    return 4 if max(sizes) <= 64 else 8


def _sizes(layers: Sequence[Tensor]) -> tuple[int, ...]:
    """Encoded inputs, and the units of each hidden layer."""
    return tuple(w.shape[-2] - 1 for w in layers)


def _block(size: int) -> int:
    """The least power of two that holds so many, and that a matrix product can have."""
    return max(16, 1 << (size - 1).bit_length())


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


@lru_cache
def _has_kernel(device: torch.device) -> bool:
    if torch.version.cuda is None or find_spec("triton") is None:
        return False
    if torch.cuda.get_device_capability(device) < (8, 0):  # the first with TF32
        return False
    try:
        layers = [torch.zeros(1, 2, 16, device=device), torch.zeros(1, 17, 1, device=device)]
        X = torch.zeros(1, 1, 1, 1, device=device)
        descend(layers, "tanh", X, X[..., 0], 0.0)
    except Exception as error:  # no C compiler, an old Triton: each has exceptions of its own
        text = f"Triton cannot make the inner loop's kernel, so that it is slower: {error!r}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return False
    return True
