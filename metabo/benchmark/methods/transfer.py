"""Methods from the literature that learn from earlier runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metabo.baselines.average_rank import AverageRankSearch
from metabo.baselines.earlier_runs import EarlierRuns
from metabo.benchmark.methods.protocols import Search, Searcher
from metabo.benchmark.problems import Problem
from metabo.tasks import TableFamily


def transfer_methods(family: TableFamily, *, seed: int) -> list[Searcher]:
    """All that learn from earlier runs, but ours.

    What they learn is learned when it is first needed, and shared by the searches that follow: keep
    the list for all seeds and problems that have one family.

    Args:
        family: The earlier runs, without the task that is to be optimised.
        seed: Of what is drawn from them and of training.
    """
    runs = EarlierRuns(family, seed=seed)
    return [AverageRank(runs)]


@dataclass(frozen=True, eq=False)
class AverageRank:
    """Candidates in the order of their average rank over earlier tasks."""

    runs: EarlierRuns
    name: ClassVar[str] = "average rank"

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with the best on average."""
        return AverageRankSearch(
            self.runs, problem.candidates, objective=problem.objective, seed=seed
        )
