"""Work on several cores: PyTorch's own threads wait for each other when products are small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")

# How many of a core's parts another device works on at once: of small products it mostly waits.
_LARGER = 16

_cores: ContextVar[int | None] = ContextVar("cores", default=None)  # where PyTorch has one thread


def num_cores() -> int:
    """As many threads as PyTorch may use, or might outside of `one_thread`."""
    return _cores.get() or torch.get_num_threads()


@contextmanager
def one_thread() -> Iterator[None]:
    """Every operation on one thread, also in threads begun inside, but for `on_cores`."""
    threads = torch.get_num_threads()
    token = _cores.set(num_cores())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _cores.reset(token)


def part_size(size: int, device: torch.device) -> int:
    """So many items at a time that fit the cache of a core, or many more on another device."""
    return size if device.type == "cpu" else _LARGER * size


def on_cores(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """A function of each part, in their order, on `num_cores()` threads."""
    count = min(num_cores(), len(parts))
    with one_thread():
        if count <= 1:
            return [function(part) for part in parts]
        with ThreadPoolExecutor(count, initializer=_join_device) as pool:
            return list(pool.map(function, parts))


def _join_device() -> None:
    """A thread that has not met the GPU yet: without this, cuBLAS would warn of it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
