"""A Prior from earlier studies."""

from pathlib import Path

import optuna
import pytest
import torch
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import Trial

from metabo.integrations.optuna import MetaboSampler, family_from_studies, prior_from_studies
from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.heads import HeadSettings
from metabo.meta_training.meta_train import MetaTrainSettings
from metabo.meta_training.refine import RefineSettings
from metabo.meta_training.reptile import ReptileSettings

QUICK = MetaTrainSettings(
    features=FeatureSettings(
        hidden=(16, 16),
        reptile=ReptileSettings(outer_steps=20, inner_steps=10),
        refine=RefineSettings(steps=20),
    ),
    heads=HeadSettings(num_components=(1,)),
)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def mixed(trial: Trial) -> float:
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    depth = trial.suggest_int("depth", 2, 10, step=2)
    kernel = trial.suggest_categorical("kernel", ["rbf", "linear", None])
    return rate + depth + len(str(kernel))


def study_of(
    name: str, function=mixed, *, trials: int = 4, direction: str = "minimize", **where: object
) -> Study:
    study = optuna.create_study(
        study_name=name, sampler=RandomSampler(seed=len(name)), direction=direction, **where
    )
    study.optimize(function, n_trials=trials)
    return study


class TestFamily:
    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_has_what_the_studies_have(self, direction: str) -> None:
        studies = [study_of(name, direction=direction) for name in ("a", "bb")]
        family = family_from_studies(studies)
        assert family.names == ("a", "bb")
        assert family.minimize == (direction == "minimize")
        space = family.space
        assert space.names == ("rate", "depth", "kernel")
        assert space.bounds.T.tolist() == [[1e-4, 1.0], [2, 10], [0, 2]]
        assert (space.log_dims, space.integer_dims, space.categorical_dims) == ((0,), (1,), (2,))
        assert space.categories == {"kernel": ("rbf", "linear", None)}
        for study, task in zip(studies, family.tasks(), strict=True):
            assert space.to_dicts(task.X) == [pytest.approx(t.params) for t in study.trials]
            sign = -1 if family.minimize else 1
            assert (sign * task.Y.squeeze(-1)).tolist() == [t.value for t in study.trials]

    def test_only_complete_trials_of_the_chosen_inputs(self) -> None:
        study = study_of("a")
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
        study.ask()
        family = family_from_studies([study], inputs=["depth"])
        assert family.space.names == ("depth",)
        assert len(family.tasks()[0]) == 4

    def test_from_a_storage(self, tmp_path: Path) -> None:
        storage = f"sqlite:///{tmp_path}/runs.db"
        study_of("a", storage=storage, trials=2)
        study_of("b", storage=storage, trials=3)
        family = family_from_studies(["b", "a"], storage=storage)
        assert [(task.name, len(task)) for task in family.tasks()] == [("b", 3), ("a", 2)]

    def test_names_need_a_storage(self) -> None:
        with pytest.raises(ValueError, match="study 'a' is given by name: give its storage"):
            family_from_studies(["a"])
        with pytest.raises(TypeError, match="such as \\['a'\\]"):
            family_from_studies("a")
        with pytest.raises(ValueError, match="no studies"):
            family_from_studies([])


class TestRefusals:
    def test_another_direction(self) -> None:
        studies = [study_of("a"), study_of("b", direction="maximize")]
        with pytest.raises(ValueError, match="study 'b' is maximised, but study 'a' is minimised"):
            family_from_studies(studies)

    def test_another_range(self) -> None:
        studies = [
            study_of("a", lambda t: t.suggest_float("x", 0, 1)),
            study_of("b", lambda t: t.suggest_float("x", 0, 2)),
        ]
        with pytest.raises(ValueError, match=r"study 'b', trial 0 .* 'x' as .*high=2.* 'a' .*=1"):
            family_from_studies(studies)

    def test_parameters_that_only_some_trials_have(self) -> None:
        def conditional(trial: Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            return x + (trial.suggest_float("y", 0, 1) if trial.number == 1 else 0.0)

        study = study_of("a", conditional)
        with pytest.raises(ValueError, match="study 'a', trial 1 has the parameter 'y', but"):
            family_from_studies([study])
        with pytest.raises(ValueError, match="study 'a', trial 0 has no parameter 'y'"):
            family_from_studies([study], inputs=["x", "y"])
        assert len(family_from_studies([study], inputs=["x"]).tasks()[0]) == 4

    def test_studies_with_nothing_to_learn_from(self) -> None:
        with pytest.raises(ValueError, match="study 'a' has no complete trial"):
            family_from_studies([study_of("a", trials=0)])
        with pytest.raises(ValueError, match="study 'b' has no parameters"):
            family_from_studies([study_of("b", lambda trial: 1.0)])
        several = optuna.create_study(study_name="c", directions=["minimize", "minimize"])
        with pytest.raises(ValueError, match="study 'c' has several objectives"):
            family_from_studies([several])

    def test_an_infinite_value(self) -> None:
        study = study_of("a", lambda t: t.suggest_float("x", 0, 1) * float("inf"), trials=1)
        with pytest.raises(ValueError, match="study 'a', trial 0 has the value inf"):
            family_from_studies([study])

    def test_one_name_twice(self) -> None:
        with pytest.raises(ValueError, match="two tasks are called 'a'"):
            family_from_studies([study_of("a"), study_of("a")])


@pytest.mark.slow
def test_earlier_studies_help_the_next_one() -> None:
    """Shifted parabolas: after five trials the best is nearer than a random search's."""

    def parabola(shift: float):
        return lambda trial: 3 + (trial.suggest_float("x", -4, 4) - shift) ** 2

    shifts = torch.linspace(-3, 3, 16).tolist()
    studies = [study_of(f"{shift:.2f}", parabola(shift), trials=12) for shift in shifts]
    prior = prior_from_studies(studies, settings=QUICK, progress=False)
    assert prior.minimize

    def regret(sampler: optuna.samplers.BaseSampler, shift: float) -> float:
        study = optuna.create_study(sampler=sampler)
        study.optimize(parabola(shift), n_trials=5)
        return study.best_value - 3

    new = (-2.3, -0.5, 0.7, 1.9)
    ours = [regret(MetaboSampler(prior, seed=0), shift) for shift in new]
    random = [regret(RandomSampler(seed=seed), shift) for shift in new for seed in range(5)]
    assert sum(ours) / len(ours) < 0.5 * sum(random) / len(random)
