"""Other packages that learn from earlier runs, as they are: `metabo[packages]`.

They take part where they are asked for by name: some take a minute for a suggestion.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.benchmark.methods.protocols import Search, Searcher
from metabo.benchmark.problems import Problem
from metabo.tasks import TableFamily

# By name: the module among the baselines, and the search in it.
_SEARCHES = {
    "BayBE": ("baybe", "BayBESearch"),
    "Syne Tune, copula": ("syne_tune", "CopulaSearch"),
    "Syne Tune, box": ("syne_tune", "BoundingBoxSearch"),
}
PACKAGE_METHODS = tuple(_SEARCHES)


def package_methods(family: TableFamily, *, seed: int) -> list[Searcher]:
    """All of them, with `PACKAGE_METHODS` as names, whether they are installed or not.

    Args:
        family: As in `transfer_methods`.
        seed: As in `transfer_methods`.
    """
    return [PackageMethod(name, family, seed) for name in PACKAGE_METHODS]


@dataclass(frozen=True, eq=False)
class PackageMethod:
    """A method of another package, imported when it is used."""

    name: str
    family: TableFamily
    seed: int

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start with what the package suggests.

        Raises:
            ImportError: If it is not installed.
        """
        module, search = _SEARCHES[self.name]
        try:
            found = import_module(f"metabo.baselines.{module}")
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{self.name!r} needs {error.name}, which is not installed: pip install "
                '"metabo[packages]"'
            ) from error
        runs = EarlierRuns(self.family, seed=self.seed)
        return getattr(found, search)(
            runs, problem.candidates, objective=problem.objective, seed=seed
        )
