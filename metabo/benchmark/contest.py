"""All methods on problems that were left out of what they learn from, as a grid of cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from metabo.benchmark.cases import Case
from metabo.benchmark.cells import Cell, Failure, Results, attempt, run_cells
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import (
    OWN_METHODS,
    PACKAGE_METHODS,
    Search,
    Searcher,
    own_methods,
    package_methods,
    plain_methods,
    transfer_methods,
)
from metabo.benchmark.problems import Problem
from metabo.benchmark.run import Rows, finished
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.optimizer import PriorCollapsedWarning
from metabo.prior import Prior
from metabo.tasks import TableFamily, TaskFamily

_RUNS = (50, 20)  # earlier tasks, and observations of each, of a family in closed form
_KEPT = 2  # cases in the memory of a process
_UNUSED = Failure("no method that takes part has a Prior", "")

Priors = Mapping[str, Prior | Failure]


@dataclass(frozen=True)
class ContestSettings:
    """How large a contest is.

    Attributes:
        methods: Only these, by name; all but those of other packages if None.
        jobs: How many processes; None: as joblib is configured, such as on a cluster.
        meta_train: As for `metabo.meta_train`.
    """

    methods: tuple[str, ...] | None = None
    jobs: int | None = 2
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)


@dataclass(frozen=True, eq=False)
class Setup:
    """A case with a seed: all methods learn once from its family.

    Attributes:
        key: All that decides the case, JSON-able.
        load: Gives the case; called wherever cells run, and picklable.
        seed: Of all that is random in it.
    """

    key: Mapping[str, Any]
    load: Callable[[], Case]
    seed: int

    @property
    def name(self) -> str:
        """A name for files and caches."""
        return Cell({**self.key, "seed": self.seed}, list).digest


def run_contest(
    setups: Sequence[Setup], settings: ContestSettings, folder: Path, *, retry: bool = False
) -> Results:
    """Meta-train what is missing, then run the cells that are missing.

    Args:
        setups: With different keys or seeds.
        settings: How large it is.
        folder: For Priors and cells.
        retry: As in `run_cells`.

    Raises:
        ValueError: No method has a name that is wanted.
    """
    _check_names(setups, settings.methods)
    priors = train_priors(setups, settings, folder / "priors")
    cells = [cell for setup in setups for cell in _cells(setup, priors[setup.name], settings)]
    return run_cells(cells, folder / "cells", label="optimising", jobs=settings.jobs, retry=retry)


def _check_names(setups: Sequence[Setup], wanted: Sequence[str] | None) -> None:
    if wanted is None:
        return
    known: list[str] = []
    for setup in setups:
        known += [method.name for method in all_methods(setup.load(), _UNUSED, seed=setup.seed)]
        if set(wanted) <= set(known):
            return
    unknown = next(name for name in wanted if name not in known)
    choices = ", ".join(dict.fromkeys(known))
    raise ValueError(f"no method is called {unknown!r}: choose from {choices}")


def train_priors(setups: Sequence[Setup], settings: ContestSettings, folder: Path) -> Priors:
    """A Prior for each setup, from the folder or trained now and put there, if one is needed."""
    if settings.methods is not None and not set(settings.methods) & set(OWN_METHODS):
        return {setup.name: _UNUSED for setup in setups}
    digest = Cell(asdict(settings.meta_train), list).digest
    paths = {setup.name: folder / f"{setup.name}-{digest}.safetensors" for setup in setups}
    priors: dict[str, Prior | Failure] = {
        name: Prior.load(path) for name, path in paths.items() if path.exists()
    }
    missing = [setup for setup in setups if setup.name not in priors]
    calls = [partial(attempt, partial(_prior, setup, settings.meta_train)) for setup in missing]
    done = len(setups) - len(missing)
    for i, prior in finished(calls, label="meta-training", jobs=settings.jobs, done=done):
        name = missing[i].name
        priors[name] = prior
        if isinstance(prior, Prior):
            prior.save(paths[name])
    return priors


def _prior(setup: Setup, settings: MetaTrainSettings) -> Prior:
    family = setup.load().family
    return meta_train(family, seed=setup.seed, settings=settings, device="cpu", progress=False)


def _cells(setup: Setup, prior: Prior | Failure, settings: ContestSettings) -> list[Cell]:
    case = setup.load()
    names = [method.name for method in all_methods(case, prior, seed=setup.seed)]
    usual = [name for name in names if name not in PACKAGE_METHODS]
    wanted = [name for name in names if name in (settings.methods or usual)]
    return [
        Cell(
            {
                **setup.key,
                "problem": problem.name,
                "task": problem.task,
                "seed": setup.seed,
                "method": name,
                "evaluations": case.evaluations,
                "meta_train": asdict(settings.meta_train),
            },
            partial(_search, setup, prior, name, number),
        )
        for number, problem in enumerate(case.problems)
        for name in wanted
    ]


@dataclass(frozen=True)
class Untrained:
    """One of our methods without its Prior, because meta-training failed; so does its search."""

    name: str
    failure: Failure

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Say why.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"meta-training failed:\n{self.failure.traceback}")


def all_methods(case: Case, prior: Prior | Failure, *, seed: int) -> list[Searcher]:
    """Everyone who takes part.

    Args:
        case: Its family is what may be learned from.
        prior: What was meta-trained on it.
        seed: Of what the others draw from the family.
    """
    own: Sequence[Searcher]
    if isinstance(prior, Failure):
        own = [Untrained(name, prior) for name in OWN_METHODS]
    else:
        own = own_methods(prior)
    runs = earlier_runs(case.family, seed=seed)
    others = [*transfer_methods(runs, seed=seed), *package_methods(runs, seed=seed)]
    return [*own, *case.bound(), *plain_methods(), *others]


def earlier_runs(family: TaskFamily, *, seed: int) -> TableFamily:
    """The family as a table, for methods that learn from tables: tasks drawn from a closed form."""
    if isinstance(family, TableFamily):
        return family
    num_tasks, num_points = _RUNS
    return TableFamily(family.tasks(num_tasks, num_points, seed=seed), family.space)


def _search(setup: Setup, prior: Prior | Failure, method: str, number: int) -> Rows:
    case, methods = _prepared(setup, prior)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorCollapsedWarning)  # whether it helps is the question
        problem = case.problems[number]
        return optimise(problem, methods[method], case.evaluations, seed=setup.seed)


_PREPARED: dict[str, tuple[Case, dict[str, Searcher]]] = {}


def _prepared(setup: Setup, prior: Prior | Failure) -> tuple[Case, dict[str, Searcher]]:
    """The case and its methods: loaded, and later trained, once in each process."""
    digest = prior.digest if isinstance(prior, Prior) else "failed"
    name = f"{setup.name}-{digest}"
    if name not in _PREPARED:
        while len(_PREPARED) >= _KEPT:
            _PREPARED.pop(next(iter(_PREPARED)))
        case = setup.load()
        methods = all_methods(case, prior, seed=setup.seed)
        _PREPARED[name] = (case, {method.name: method for method in methods})
    return _PREPARED[name]
