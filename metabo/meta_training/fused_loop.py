"""The inner loop of `fused_loop.c`: all steps of a task in one call, where it has been compiled."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_float, c_size_t, c_void_p

import torch
from torch import Tensor

from metabo.native import load

# As numbered in C.
_ACTIVATIONS = ("tanh", "relu", "silu", "sigmoid")


class _Problem(ctypes.Structure):
    """As in C."""

    _fields_ = (
        *((n, c_size_t) for n in ("activation", "depth", "num_tasks", "steps", "points")),
        ("widths", POINTER(c_size_t)),
        ("weights", POINTER(c_void_p)),
        *((n, c_void_p) for n in ("X", "Y", "losses")),
        *((n, c_size_t) for n in ("X_step", "Y_step", "losses_step")),
        ("step_size", c_float),
    )


_descend_all = load("metabo.meta_training._fused_loop", "descend_all")


def is_compiled() -> bool:
    """Whether it is there, for this machine."""
    return _descend_all is not None


def can_run(start: Sequence[Tensor], activation: str, X: Tensor, Y: Tensor) -> bool:
    """Whether it has been compiled, and can compute with these."""
    widths = [X.shape[-1], *(w.shape[1] for w in start)]
    return (
        is_compiled()
        and activation in _ACTIVATIONS
        and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (*start, X, Y))
        and Y.shape == X.shape[:-1]
        and len(start) > 1
        and [w.shape[0] - 1 for w in start] == widths[:-1]
        and widths[-1] == 1
    )


def descend(
    layers: Sequence[Tensor], activation: str, X: Tensor, Y: Tensor, step_size: float
) -> Tensor:
    """Take T tasks through all their steps, in place in `layers`; returns the losses, S x T.

    Args:
        layers: Each task's augmented matrices, contiguous, `T x (in + 1) x out`.
        activation: The network's.
        X: `S x T x b x e`; not copied if each step's is contiguous.
        Y: `S x T x b`; likewise.
        step_size: The step size of SGD.

    Raises:
        MemoryError: If there is none for one task's weights and activations.
    """
    assert _descend_all is not None
    X, Y = _in_rows(X), _in_rows(Y)
    losses = X.new_empty(X.shape[:2])
    problem = _Problem(
        activation=_ACTIVATIONS.index(activation),
        depth=len(layers) - 1,
        num_tasks=X.shape[1],
        steps=X.shape[0],
        points=X.shape[2],
        widths=(c_size_t * len(layers))(*[w.shape[1] - 1 for w in layers]),
        weights=(c_void_p * len(layers))(*[w.data_ptr() for w in layers]),
        X=X.data_ptr(),
        Y=Y.data_ptr(),
        losses=losses.data_ptr(),
        X_step=X.stride(0),
        Y_step=Y.stride(0),
        losses_step=losses.stride(0),
        step_size=step_size,
    )
    failed = _descend_all(ctypes.byref(problem))
    if failed:
        raise MemoryError("no memory for one task's weights and activations")
    return losses


def _in_rows(batches: Tensor) -> Tensor:
    whole = len(batches) > 0 and batches[0].is_contiguous()
    return batches if whole else batches.contiguous()
