"""All methods on problems that were left out of what they learn from, as a grid of cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from metabo.benchmark.cases import Case
from metabo.benchmark.cells import Cell, Failure, Outcomes, attempt, run_cells
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import (
    OWN_METHODS,
    PACKAGE_METHODS,
    Metabo,
    Search,
    Searcher,
    VanillaGP,
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
FROM_RUNS = "metabo, earlier runs"  # where the family is known: as the others, who see runs of it

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

    def from_runs(self) -> Setup:
        """The same, but for what is learned from: the earlier runs of a family that is known."""
        load = partial(_from_runs, self.load, self.seed)
        return Setup({**self.key, "learned_from": "earlier runs"}, load, self.seed)


@dataclass(frozen=True, eq=False)
class Learned:
    """What was meta-trained for one setup.

    Attributes:
        prior: On its family.
        from_runs: On the earlier runs of it that other methods see, where the family is known.
    """

    prior: Prior | Failure
    from_runs: Prior | Failure | None = None

    @property
    def digest(self) -> str:
        """Tells apart what was learned."""
        parts = (self.prior, self.from_runs)
        return "-".join(part.digest if isinstance(part, Prior) else "none" for part in parts)


_NOTHING = Learned(_UNUSED, _UNUSED)


def run_contest(
    setups: Sequence[Setup], settings: ContestSettings, folder: Path, *, retry: bool = False
) -> Outcomes:
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
    learned = _learn(setups, settings, folder / "priors")
    cells = [cell for setup in setups for cell in _cells(setup, learned[setup.name], settings)]
    return run_cells(cells, folder / "cells", label="optimising", jobs=settings.jobs, retry=retry)


def _check_names(setups: Sequence[Setup], wanted: Sequence[str] | None) -> None:
    if wanted is None:
        return
    known: list[str] = []
    for setup in setups:
        known += [method.name for method in all_methods(setup.load(), _NOTHING, seed=setup.seed)]
        if set(wanted) <= set(known):
            return
    unknown = next(name for name in wanted if name not in known)
    choices = ", ".join(dict.fromkeys(known))
    raise ValueError(f"no method is called {unknown!r}: choose from {choices}")


def _learn(setups: Sequence[Setup], settings: ContestSettings, folder: Path) -> dict[str, Learned]:
    """What the methods that take part need for each setup."""
    wanted = {*OWN_METHODS, FROM_RUNS} if settings.methods is None else set(settings.methods)
    known = [setup for setup in setups if not isinstance(setup.load().family, TableFamily)]
    runs = {setup.name: setup.from_runs() for setup in known}
    priors = train_priors(
        [
            *(setups if wanted & set(OWN_METHODS) else []),
            *(runs.values() if FROM_RUNS in wanted else []),
        ],
        settings,
        folder,
    )
    return {
        setup.name: Learned(
            priors.get(setup.name, _UNUSED),
            priors.get(runs[setup.name].name, _UNUSED) if setup.name in runs else None,
        )
        for setup in setups
    }


def train_priors(setups: Sequence[Setup], settings: ContestSettings, folder: Path) -> Priors:
    """A Prior for each setup, from the folder, or trained now and put there."""
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


def _from_runs(load: Callable[[], Case], seed: int) -> Case:
    case = load()
    return replace(case, family=earlier_runs(case.family, seed=seed))


def _cells(setup: Setup, learned: Learned, settings: ContestSettings) -> list[Cell]:
    case = setup.load()
    names = [method.name for method in all_methods(case, learned, seed=setup.seed)]
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
            partial(_search, setup, learned, name, number),
        )
        for number, problem in enumerate(case.problems)
        for name in wanted
        # With an objective, both vanilla GPs are one search.
        if problem.objective is None or name != VanillaGP(noisy=True).name
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


def all_methods(case: Case, learned: Learned, *, seed: int) -> list[Searcher]:
    """Everyone who takes part.

    Args:
        case: Its family is what may be learned from.
        learned: What was meta-trained on it.
        seed: Of what the others draw from the family.
    """
    own: list[Searcher]
    if isinstance(learned.prior, Failure):
        own = [Untrained(name, learned.prior) for name in OWN_METHODS]
    else:
        own = own_methods(learned.prior)
    if isinstance(learned.from_runs, Failure):
        own.append(Untrained(FROM_RUNS, learned.from_runs))
    elif learned.from_runs is not None:
        own.append(Metabo(learned.from_runs, FROM_RUNS))
    runs = earlier_runs(case.family, seed=seed)
    others = [*transfer_methods(runs, seed=seed), *package_methods(runs, seed=seed)]
    return [*own, *case.bound(), *plain_methods(), *others]


def earlier_runs(family: TaskFamily, *, seed: int) -> TableFamily:
    """The family as a table, for methods that learn from tables: tasks drawn from a closed form."""
    if isinstance(family, TableFamily):
        return family
    num_tasks, num_points = _RUNS
    return TableFamily(family.tasks(num_tasks, num_points, seed=seed), family.space)


def _search(setup: Setup, learned: Learned, method: str, number: int) -> Rows:
    case, methods = _prepared(setup, learned)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorCollapsedWarning)  # whether it helps is the question
        problem = case.problems[number]
        return optimise(problem, methods[method], case.evaluations, seed=setup.seed)


_PREPARED: dict[str, tuple[Case, dict[str, Searcher]]] = {}


def _prepared(setup: Setup, learned: Learned) -> tuple[Case, dict[str, Searcher]]:
    """The case and its methods: loaded, and later trained, once in each process."""
    name = f"{setup.name}-{learned.digest}"
    if name not in _PREPARED:
        while len(_PREPARED) >= _KEPT:
            _PREPARED.pop(next(iter(_PREPARED)))
        case = setup.load()
        methods = all_methods(case, learned, seed=setup.seed)
        _PREPARED[name] = (case, {method.name: method for method in methods})
    return _PREPARED[name]
