"""Ask and tell over a finite set of candidates: what the baselines' searches share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metabo.space import InputSpace


class CandidateSearch(ABC):
    """Proposes candidates, each at most once, with the interface of `metabo.Optimizer`.

    Args:
        space: The inputs.
        candidates: `N x d`, in the user's units; what may be proposed.
        seed: The same seed and the same answers give the same proposals.
        num_random: How many of the first proposals are random: the same for all searches with the
            same seed and candidates.

    Raises:
        ValueError: If there are no candidates.
        SpaceError: If a candidate is outside the space.
    """

    def __init__(
        self, space: InputSpace, candidates: Tensor, *, seed: int = 0, num_random: int = 0
    ) -> None:
        space.check(candidates, name="candidates")
        if candidates.ndim != 2 or len(candidates) == 0:
            raise ValueError(f"candidates must be N x d, N > 0, not {tuple(candidates.shape)}")
        self.space = space
        # On the CPU, where earlier runs and what is told are.
        self.candidates = space.snap(candidates.to("cpu", torch.float64))
        self.seed = seed
        self.num_random = num_random
        self.X = self.candidates[:0]
        self.Y = self.candidates.new_empty(0, 1)
        self._open = torch.ones(len(candidates), dtype=torch.bool)
        self._random_order = torch.randperm(
            len(candidates), generator=torch.Generator().manual_seed(seed)
        )

    def ask(self) -> dict[str, Any]:
        """The next point to measure, {input name: value}.

        Raises:
            RuntimeError: If every candidate has been told already.
        """
        if not self._open.any():
            raise RuntimeError(f"all {len(self.candidates)} candidates have been measured")
        if len(self.Y) < self.num_random:
            index = self._random_order[self._open[self._random_order]][0]
        else:
            left = self._open.nonzero().squeeze(-1)
            index = left[self.scores(left).argmax()]
        return self.space.to_dicts(self.candidates[index].unsqueeze(0))[0]

    def tell(self, x: Mapping[str, Any], y: float) -> None:
        """Take a measured response.

        Raises:
            SpaceError: If x is not a point of the space.
            ValueError: If y is not finite.
        """
        if not math.isfinite(y):
            raise ValueError(f"y is {y!r} at {dict(x)}; tell a finite number")
        row = self.space.snap(self.space.to_tensor(x))
        self._open &= (self.candidates != row).any(-1)
        self.X = torch.cat([self.X, row])
        self.Y = torch.cat([self.Y, self.Y.new_tensor([[float(y)]])])

    @abstractmethod
    def scores(self, indices: Tensor) -> Tensor:
        """How good it would be to measure the candidates at these indices, m -> m."""
