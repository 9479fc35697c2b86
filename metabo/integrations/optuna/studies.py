"""A Prior from earlier studies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import optuna
import torch
from ConfigSpace import ConfigurationSpace
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from metabo.column import closest
from metabo.integrations.optuna.distributions import as_input
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.prior import Prior
from metabo.space import InputSpace, SpaceError
from metabo.tasks.tables import TableFamily
from metabo.tasks.task import Task

_DEFAULTS = MetaTrainSettings()


def prior_from_studies(
    studies: Iterable[Study | str],
    *,
    storage: str | BaseStorage | None = None,
    inputs: Sequence[str] | None = None,
    seed: int = 0,
    settings: MetaTrainSettings = _DEFAULTS,
    progress: bool = True,
) -> Prior:
    """Meta-train a Prior on earlier studies, each of which is a task.

    Args:
        studies: Studies, or their names in `storage`.
        storage: Where the names are looked up, as for `optuna.load_study`.
        inputs: The parameters to learn from; all if None.
        seed: As for `metabo.meta_train`.
        settings: As for `metabo.meta_train`.
        progress: Whether to show what is being done, on the standard error.

    Raises:
        ValueError: As of `family_from_studies`.
    """
    family = family_from_studies(studies, storage=storage, inputs=inputs)
    return meta_train(family, seed=seed, settings=settings, progress=progress)


def family_from_studies(
    studies: Iterable[Study | str],
    *,
    storage: str | BaseStorage | None = None,
    inputs: Sequence[str] | None = None,
) -> TableFamily:
    """The table of all complete trials of earlier studies; arguments as of `prior_from_studies`.

    Raises:
        ValueError: Naming the study and, where it is about one, the parameter: if a study has no
            complete trial, several objectives or an infinite value; if studies differ in direction,
            or in the kind, range, scale, step or choices of a parameter; if a trial lacks one.
    """
    if isinstance(studies, str):
        raise TypeError(f"studies must be a list, such as [{studies!r}]")
    runs = [_Run.of(study, storage) for study in studies]
    if not runs:
        raise ValueError("no studies: give at least one")
    for run in runs:
        if run.minimize != runs[0].minimize:
            raise ValueError(
                f"study {run.name!r} is {run.direction}, but study {runs[0].name!r} is "
                f"{runs[0].direction}: learn one Prior for each direction"
            )
    distributions = _common(runs, inputs)
    parts = ConfigurationSpace()
    parts.add([as_input(name, distribution) for name, distribution in distributions.items()])
    space = InputSpace(parts, list(distributions))
    return TableFamily([run.task(space) for run in runs], space, minimize=runs[0].minimize)


@dataclass(frozen=True)
class _Run:
    """What is learned from one study: its complete trials."""

    name: str
    minimize: bool
    trials: list[FrozenTrial]

    @classmethod
    def of(cls, study: Study | str, storage: str | BaseStorage | None) -> Self:
        if isinstance(study, str):
            if storage is None:
                raise ValueError(f"study {study!r} is given by name: give its storage, too")
            study = optuna.load_study(study_name=study, storage=storage)
        name = study.study_name
        if len(study.directions) > 1:
            raise ValueError(f"study {name!r} has several objectives; only one is possible")
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not trials:
            raise ValueError(f"study {name!r} has no complete trial: leave it out")
        return cls(name, study.direction == StudyDirection.MINIMIZE, trials)

    @property
    def direction(self) -> str:
        return "minimised" if self.minimize else "maximised"

    def task(self, space: InputSpace) -> Task:
        for trial in self.trials:
            if not math.isfinite(trial.values[0]):
                raise ValueError(
                    f"study {self.name!r}, trial {trial.number} has the value {trial.values[0]}: "
                    "leave the study out, or copy its other trials to a new one"
                )
        rows = [{name: trial.params[name] for name in space.names} for trial in self.trials]
        try:
            X = space.to_tensor(rows)
        except SpaceError as error:
            raise SpaceError(f"study {self.name!r}, {error}", error.row) from error
        Y = torch.tensor([trial.values for trial in self.trials], dtype=torch.float64)
        return Task(self.name, space, X, -Y if self.minimize else Y)


def _common(runs: list[_Run], inputs: Sequence[str] | None) -> dict[str, BaseDistribution]:
    """The distributions of the inputs, which must be the same in all trials."""
    first = runs[0].trials[0].distributions
    names = list(first if inputs is None else inputs)
    for run in runs:
        for trial in run.trials:
            where = f"study {run.name!r}, trial {trial.number}"
            for name in [*names, *(trial.distributions if inputs is None else ())]:
                _refuse_other(where, name, first, trial.distributions, runs[0].name)
    if not names:
        raise ValueError(f"study {runs[0].name!r} has no parameters to learn from")
    return {name: first[name] for name in names}


def _refuse_other(
    where: str,
    name: str,
    first: dict[str, BaseDistribution],
    own: dict[str, BaseDistribution],
    study: str,
) -> None:
    """Refuse a trial that has a parameter otherwise than the first trial of the first study."""
    if name not in own:
        raise ValueError(
            f"{where} has no parameter {name!r}: {closest(name, own)}. Parameters that only some "
            "trials have are left out by naming the others as inputs"
        )
    if name not in first:
        raise ValueError(
            f"{where} has the parameter {name!r}, but study {study!r} has not: name those to learn "
            "from as inputs"
        )
    if own[name] != first[name]:
        raise ValueError(
            f"{where} has the parameter {name!r} as {own[name]}, but study {study!r} has it as "
            f"{first[name]}: learn from studies of one space, or leave the parameter out of inputs"
        )
