"""Sobol search: candidates that cover the space evenly, whatever is measured there."""

from __future__ import annotations

from torch import Tensor

from metabo.baselines.snapped_search import SnappedSearch


class SobolSearch(SnappedSearch):
    """Proposes the candidate nearest to each point of a scrambled Sobol sequence.

    Arguments as in `CandidateSearch`; the seed is that of the scrambling.
    """

    def draw(self) -> Tensor:
        """The sequence's next point, `d`."""
        return self.space.sample(len(self.Y) + 1, seed=self.seed)[-1]
