"""Random search: every candidate is as good as any other."""

from __future__ import annotations

from torch import Tensor

from metabo.baselines.candidate_search import CandidateSearch
from metabo.space import InputSpace


class RandomSearch(CandidateSearch):
    """Proposes all candidates in random order; arguments as in `CandidateSearch`."""

    def __init__(self, space: InputSpace, candidates: Tensor, *, seed: int = 0) -> None:
        super().__init__(space, candidates, seed=seed, num_random=len(candidates))

    def scores(self, indices: Tensor) -> Tensor:
        """All the same; not used as long as there is a random proposal left."""
        return self.candidates.new_zeros(len(indices))
