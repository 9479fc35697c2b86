"""What installing metabo compiles, where there is GCC, on Linux and x86-64.

Elsewhere PyTorch's operations do the same, more slowly.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch

# What PyTorch says of the processors that it has been measured on; without wide registers it loses.
_PROCESSORS = ("AVX2", "AVX512")


def load(module: str, function: str) -> Callable[[object], int] | None:
    """A function of a compiled module; None where there is none for this machine."""
    found = find_spec(module)
    if not found or not found.origin or torch.backends.cpu.get_cpu_capability() not in _PROCESSORS:
        return None
    try:
        return getattr(ctypes.CDLL(found.origin), function)
    except (OSError, AttributeError) as error:  # built for another machine, or from older source
        text = f"what was compiled cannot be loaded, so meta-training is slower: {error}"
        warnings.warn(f"{text}; install metabo again", RuntimeWarning, stacklevel=2)
        return None
