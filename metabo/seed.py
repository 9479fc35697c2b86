"""Which seeds there are: those that each library's generators take."""

from __future__ import annotations

LARGEST_SEED = 2**32 - 1  # of NumPy's; PyTorch's go further


def check_seed(seed: int) -> None:
    """Refuse a seed before it fails late.

    Raises:
        ValueError: If it is negative or too large.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"the seed is {seed}: give a whole number from 0 to {LARGEST_SEED}")
