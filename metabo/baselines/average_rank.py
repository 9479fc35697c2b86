"""The order of candidates by their average rank over earlier tasks: no model at all."""

from __future__ import annotations

import torch
from scipy.stats import rankdata
from torch import Tensor

from metabo.baselines.candidate_search import CandidateSearch
from metabo.baselines.earlier_runs import EarlierRuns
from metabo.objective import Objective


def average_ranks(values: Tensor) -> Tensor:
    """The mean over tasks of the candidates' ranks, N; rank 1 is the best, ties share theirs.

    Args:
        values: `T x N`; larger is better.
    """
    return torch.from_numpy(rankdata(-values.numpy(), axis=-1).mean(0))


class AverageRankSearch(CandidateSearch):
    """Proposes the candidates that were best on average in earlier tasks, one after the other.

    Args:
        runs: The earlier runs; a candidate that a task lacks has the rank of the nearest.
        candidates: As in `CandidateSearch`.
        objective: What is ranked; the response itself if None.
        seed: Not used: there is no chance in it.
    """

    def __init__(
        self,
        runs: EarlierRuns,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(runs.space, candidates, seed=seed)
        self._ranks = average_ranks(runs.objective_values(self.candidates, objective))

    def scores(self, indices: Tensor) -> Tensor:
        """The negative average ranks."""
        return -self._ranks[indices]
