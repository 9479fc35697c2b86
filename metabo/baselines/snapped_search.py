"""Searches of a whole space, held to candidates: the nearest one left is proposed instead."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from metabo.baselines.candidate_search import CandidateSearch
from metabo.space import InputSpace


class SnappedSearch(CandidateSearch):
    """Proposes the candidate nearest to where a sampler wants to go.

    Near is what is near in the encoded inputs: on the inputs' scales, all of one width.
    """

    def __init__(self, space: InputSpace, candidates: Tensor, *, seed: int = 0) -> None:
        super().__init__(space, candidates, seed=seed)
        self._codes = space.encode(self.candidates)
        self._wanted: tuple[int, Tensor] | None = None

    def wanted(self) -> Tensor:
        """Where the sampler wants to go next, `d`, the same until the next answer."""
        if self._wanted is None or self._wanted[0] != len(self.Y):
            self._wanted = (len(self.Y), self.draw())
        return self._wanted[1]

    @abstractmethod
    def draw(self) -> Tensor:
        """What the sampler draws, `d`, once after each answer."""

    def scores(self, indices: Tensor) -> Tensor:
        """How near the candidates are."""
        return -(self._codes[indices] - self.space.encode(self.wanted())).square().sum(-1)
