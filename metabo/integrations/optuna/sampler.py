"""Optuna's trials, proposed from a Prior."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from botorch.acquisition import AcquisitionFunction
from botorch.utils.transforms import t_batch_mode_transform
from numpy.random import SeedSequence
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from metabo.acquisition_search import search_space as search
from metabo.integrations.optuna.distributions import numbers, point
from metabo.integrations.optuna.history import PROPOSED, History
from metabo.integrations.optuna.trial_space import TrialSpace
from metabo.prior import Prior
from metabo.space import SpaceError
from metabo.surrogates.incumbent_improvement import LogIncumbentImprovement

# One thread proposes at a time, so that the next one sees what it has proposed. It is no part of
# the sampler, which must be possible to copy.
_PROPOSING = threading.Lock()


class OutsidePriorWarning(UserWarning):
    """A parameter is sampled without the Prior, which does not know it or its range."""


class MetaboSampler(BaseSampler):
    """Proposes trials from a Prior, the first one included: there are no random ones to start with.

    The study's parameters must include all inputs of the Prior, by name, each within the Prior's
    range; a step, fewer choices or a narrower range are welcome. Otherwise, and for parameters that
    are no inputs of the Prior, an `OutsidePriorWarning` says why the independent sampler is used.

    The study may go in the opposite direction of those that the Prior was learned from. A running
    trial counts as if it had the value that is expected of it, so that parallel trials differ; a
    failed, pruned or infeasible one as the worse end of the 90% interval.
    Trials that run one after the other are decided by the seed.

    Args:
        prior: From `prior_from_studies`, `metabo.meta_train` or `Prior.load`.
        seed: Decides every random choice; drawn at random if None.
        independent_sampler: For what the Prior does not cover; a `TPESampler` if None.
        warn_independent_sampling: Whether to warn where that one is used.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        seed: int | None = None,
        independent_sampler: BaseSampler | None = None,
        warn_independent_sampling: bool = True,
    ) -> None:
        self.prior = prior
        self._seed = _random_seed() if seed is None else seed
        self._independent_sampler = independent_sampler or TPESampler(seed=seed)
        self._warn_independent_sampling = warn_independent_sampling

    def reseed_rng(self) -> None:
        """Draw another seed, which Optuna asks for in parallel runs."""
        self._seed = _random_seed()
        self._independent_sampler.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """What the independent sampler does before a trial."""
        self._independent_sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """What the independent sampler does after a trial."""
        self._independent_sampler.after_trial(study, trial, state, values)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The Prior's inputs as complete trials have them; nothing if they do not have them all."""
        seen = intersection_search_space(study.get_trials(deepcopy=False))
        return self._inputs(seen) or {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose all inputs of the Prior at once; what it does not know is sampled independently.

        Raises:
            ValueError: If the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        inputs = self._inputs(search_space)
        params = {} if inputs is None else self._propose(study, trial, inputs)
        rest = {name: search_space[name] for name in search_space if name not in params}
        sample = self._independent_sampler.sample_independent
        return params | {name: sample(study, trial, name, rest[name]) for name in rest}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Propose one parameter, given those that the trial has already.

        So the first trial rests on the Prior, too, before its parameters are known to Optuna.

        Raises:
            ValueError: If the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        try:
            numbers(self.prior.space, param_name, param_distribution)
            self._refuse_foreign(study)
            return self._propose(study, trial, {param_name: param_distribution})[param_name]
        except SpaceError as error:
            self._warn(param_name, str(error))
        return self._independent_sampler.sample_independent(
            study, trial, param_name, param_distribution
        )

    def _inputs(
        self, distributions: Mapping[str, BaseDistribution]
    ) -> dict[str, BaseDistribution] | None:
        """The distributions of the Prior's inputs, if all are there and within its ranges."""
        space = self.prior.space
        if not distributions.keys() >= set(space.names):
            return None
        try:
            for name in space.names:
                numbers(space, name, distributions[name])
        except SpaceError:
            return None
        return {name: distributions[name] for name in space.names}

    def _refuse_foreign(self, study: Study) -> None:
        """Raise a SpaceError if there are complete trials, but none that the Prior knows."""
        unknown = None
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            try:
                point(self.prior.space, trial)
            except SpaceError as error:
                unknown = error
            else:
                return
        if unknown is not None:
            raise unknown

    def _warn(self, name: str, reason: str) -> None:
        if self._warn_independent_sampling:
            warnings.warn(
                f"parameter {name!r} is sampled by {self._independent_sampler}, without the Prior: "
                f"{reason}",
                OutsidePriorWarning,
                stacklevel=4,
            )

    def _propose(
        self, study: Study, trial: FrozenTrial, distributions: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The best values of some parameters, given those that the trial has already."""
        decided = {
            name: CategoricalDistribution([value])
            for name, value in trial.params.items()
            if name in self.prior.space.names
        }
        space = TrialSpace(self.prior.space, decided | distributions)
        with _PROPOSING:
            history = History.of(study, self.prior.space, without=trial.number)
            x = self._best(study, history, space, self._seed + trial.number)
            proposed = dict(zip(space.names, space.to_prior(x).tolist(), strict=True))
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED, proposed)
        return space.to_params(x)

    def _best(self, study: Study, history: History, space: TrialSpace, seed: int) -> Tensor:
        """The point (`d`) of a space that promises most."""
        model = history.surrogate(self.prior, maximize=study.direction != StudyDirection.MINIMIZE)
        acquisition = _OnTrialSpace(LogIncumbentImprovement(model), space)
        return search(acquisition, space.inputs, space.nearest(model.train_inputs[0]), seed=seed)


class _OnTrialSpace(AcquisitionFunction):
    """An acquisition function, of the points that a trial may choose."""

    def __init__(self, acquisition: AcquisitionFunction, space: TrialSpace) -> None:
        super().__init__(acquisition.model)
        self.acquisition, self.space = acquisition, space

    @t_batch_mode_transform()  # type: ignore[arg-type]
    def forward(self, X: Tensor) -> Tensor:
        return self.acquisition(self.space.to_prior(X))


def _random_seed() -> int:
    return int(SeedSequence().generate_state(1)[0] >> 1)
