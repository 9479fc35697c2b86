"""The E step of `e_step.c`, with its sums: a pair after the other, where it has been compiled."""

from __future__ import annotations

import ctypes
from ctypes import c_size_t, c_void_p

import torch
from torch import Tensor

from metabo.native import load

_INPUTS = ("task", "component", "precision", "projection", "energy")
_PRIOR = ("log_weights", "means", "roots")
_OUTPUTS = ("shares", "evidence", "mass", "first", "second")


class _Problem(ctypes.Structure):
    """As in C."""

    _fields_ = (
        *((n, c_size_t) for n in ("num_pairs", "num_components", "num_features", "rank")),
        *((n, c_void_p) for n in (*_INPUTS, *_PRIOR, *_OUTPUTS)),
    )


_sum_over_pairs = load("metabo.mixture._e_step", "sum_over_pairs")


def is_compiled() -> bool:
    """Whether it is there, for this machine."""
    return _sum_over_pairs is not None


def can_run(roots: Tensor) -> bool:
    """Whether it has been compiled, and can compute with components' roots, `K x p x r`."""
    on_cpu = roots.device.type == "cpu" and roots.dtype == torch.float64
    return is_compiled() and on_cpu and roots.shape[-1] > 0


def sum_over_pairs(
    pairs: tuple[Tensor, Tensor],
    statistics: tuple[Tensor, Tensor, Tensor],
    prior: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, ...]:
    """The evidence of tasks, and mass, first and second moments of components, and the shares.

    Args:
        pairs: Tasks and components, `P` each.
        statistics: Precision, projection and energy of tasks.
        prior: Log weights, means and roots of components.

    Returns:
        0-d, `K`, `K x r`, `K x r x r` and `P`, as `expectation.moments` has them.

    Raises:
        MemoryError: If there is none for one task's pairs.
        torch.linalg.LinAlgError: If a precision is not positive, as where something is not finite.
    """
    assert _sum_over_pairs is not None
    components, features, rank = prior[2].shape
    given = [value.contiguous() for value in (*pairs, *statistics, *prior)]
    shares, evidence = prior[2].new_empty(len(pairs[0])), prior[2].new_zeros(())
    sums = [prior[2].new_zeros(components, *[rank] * power) for power in range(3)]
    problem = _Problem(len(shares), components, features, rank)
    names = (*_INPUTS, *_PRIOR, *_OUTPUTS)
    for name, value in zip(names, (*given, shares, evidence, *sums), strict=True):
        setattr(problem, name, value.data_ptr())
    if _sum_over_pairs(ctypes.byref(problem)):
        raise MemoryError("no memory for the pairs of one task")
    if not evidence.isfinite():
        raise torch.linalg.LinAlgError("what tasks say of a head is not positive definite")
    return evidence, *sums, shares
