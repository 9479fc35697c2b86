"""Many processes, one meta-training: each rank adapts to its share of the tasks.

Start them with `torchrun` and call `torch.distributed.init_process_group` first; without that
there is one rank, and nothing here does anything. Every rank draws the same tasks from the same
seed, takes its own share of them, and receives the mean over all.
"""

from __future__ import annotations

import os
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Found = TypeVar("Found")


class RankLostError(RuntimeError):
    """Another process of a distributed run is gone; the run cannot go on."""


def rank() -> int:
    """This process's number, 0 for the one that writes and shows progress."""
    return dist.get_rank() if _distributed() else 0


def num_ranks() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _distributed() else 1


def local_device() -> torch.device:
    """The GPU that `torchrun` leaves to this process."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def share(num_tasks: int) -> slice:
    """Which of the T tasks of an outer step are this rank's.

    Raises:
        ValueError: If there are fewer tasks than ranks.
    """
    if num_tasks < num_ranks():
        raise ValueError(
            f"tasks_per_step is {num_tasks} but there are {num_ranks()} ranks: raise tasks_per_step"
        )
    first, last = (num_tasks * r // num_ranks() for r in (rank(), rank() + 1))
    return slice(first, last)


def mean_over_tasks(tensors: list[Tensor], num_tasks: int) -> list[Tensor]:
    """From means over each rank's share to means over all T tasks, by a single all-reduce.

    Raises:
        RankLostError: If another process is gone.
    """
    if num_ranks() == 1:
        return tensors
    own = share(num_tasks)
    flat = torch.cat([t.flatten() for t in tensors]) * ((own.stop - own.start) / num_tasks)
    try:
        dist.all_reduce(flat)
    except RuntimeError as error:
        raise RankLostError(
            "another process of this run is gone, so meta-training cannot go on: start all ranks "
            "again, with resume=True to go on from the last checkpoint"
        ) from error
    parts = flat.split([t.numel() for t in tensors])
    return [part.view_as(t) for part, t in zip(parts, tensors, strict=True)]


def from_first(found: Found) -> Found:
    """What the first rank found, at every rank."""
    if num_ranks() == 1:
        return found
    box = [found]
    # NCCL moves it by way of a GPU, the current one if not told: then all ranks would share it.
    device = local_device() if dist.get_backend() == "nccl" else None
    dist.broadcast_object_list(box, device=device)
    return box[0]


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
