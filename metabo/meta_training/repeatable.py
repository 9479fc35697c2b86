"""The same result again on a GPU, where PyTorch's fastest sums depend on who comes first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, only operations whose bits are the same at each run; a CPU has no others."""
    if device.type != "cuda":
        yield
        return
    # What cuBLAS asks for; it reads this at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic
    fills = debugging.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    debugging.fill_uninitialized_memory = False  # it is slow
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        debugging.fill_uninitialized_memory = fills
