"""The sampler: Optuna's own conformance suite, and what is asked of it beyond that."""

import copy
import warnings
from collections.abc import Callable

import optuna
import pytest
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler
from optuna.study import Study
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)
from optuna.trial import Trial, TrialState

from metabo.integrations.optuna import MetaboSampler, OutsidePriorWarning
from metabo.integrations.optuna.history import PROPOSED, History
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import InputSpace
from metabo.surrogates import MixturePriorGP
from metabo.surrogates.kriging_believer import believe

Made = Callable[..., Prior]
SPACE = {"x1": FloatDistribution(-4, 4), "x2": FloatDistribution(0, 1)}


class Conformance(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    """What Optuna asks of a sampler."""


@pytest.mark.filterwarnings("ignore::metabo.integrations.optuna.OutsidePriorWarning")
class TestPriorWithOtherInputs(Conformance):
    @pytest.fixture
    def sampler(self, prior: Prior) -> Callable[[], BaseSampler]:
        return lambda: MetaboSampler(prior)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::metabo.integrations.optuna.OutsidePriorWarning")
@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")
class TestPriorWithTheSuitesInputs(Conformance):
    @pytest.fixture
    def sampler(self, make_prior: Made) -> Callable[[], BaseSampler]:
        space = InputSpace.from_bounds({"x": (-100, 100), "y": (-100, 100)})
        prior = make_prior(space, broad=0.1, minimize=True)
        return lambda: MetaboSampler(prior)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def line(make_prior: Made) -> Prior:
    """One input, x in [-4, 4]."""
    return make_prior(InputSpace.from_bounds((-4, 4)), broad=0.5)


def study_of(prior: Prior, seed: int = 0, direction: str = "maximize") -> Study:
    return optuna.create_study(sampler=MetaboSampler(prior, seed=seed), direction=direction)


def bowl(trial: Trial) -> float:
    """Largest, 4, at 1."""
    return 4 - (trial.suggest_float("x", -4, 4) - 1) ** 2 / 4


@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")  # these Priors know nothing
class TestProposals:
    def test_the_first_is_where_the_prior_expects_most(self, prior: Prior) -> None:
        trial = study_of(prior).ask(SPACE)
        grid = prior.space.sample(2000, seed=5)
        model = MixturePriorGP(grid[:0], grid[:0, :1], prior)
        found = prior.space.to_tensor(trial.params)
        assert model.posterior(found).mean >= model.posterior(grid).mean.max() - 1e-3

    @pytest.mark.parametrize("trained_to_minimize", [False, True])
    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_directions(self, make_prior: Made, trained_to_minimize: bool, direction: str) -> None:
        space = InputSpace.from_bounds((-4, 4))
        offset = -3.0 if trained_to_minimize else 3.0
        prior = make_prior(space, broad=0.9, minimize=trained_to_minimize, offset=offset)
        study = study_of(prior, direction=direction)
        if direction == "maximize":
            study.optimize(bowl, n_trials=7)
            assert study.best_value > 3.9
        else:
            study.optimize(lambda trial: 4 - bowl(trial), n_trials=7)
            assert study.best_value < 0.1

    def test_the_seed_decides(self, line: Prior) -> None:
        first, second, other = (study_of(line, seed) for seed in (0, 0, 1))
        for study in (first, second, other):
            study.optimize(bowl, n_trials=3)
        params = [[trial.params["x"] for trial in study.trials] for study in (first, second, other)]
        assert params[0] == params[1]
        assert params[0] != params[2]

    def test_steps_choices_and_narrow_ranges_are_kept(self, mixed_prior: Prior) -> None:
        distributions: dict[str, BaseDistribution] = {
            "kernel": CategoricalDistribution(["poly", "rbf"]),
            "depth": IntDistribution(1, 5, step=2),
            "rate": FloatDistribution(1e-3, 1e-1, log=True),
        }
        study = study_of(mixed_prior)
        for value in (1.0, 3.0, 2.0, 4.0):
            trial = study.ask(distributions)
            study.tell(trial, value)
        for frozen in study.trials:
            assert frozen.params["kernel"] in ("poly", "rbf")
            assert frozen.params["depth"] in (1, 3, 5)
            assert isinstance(frozen.params["depth"], int)
            assert 1e-3 <= frozen.params["rate"] <= 1e-1
            # It was these points that the model was asked about.
            row = mixed_prior.space.to_tensor(frozen.params)[0].tolist()
            proposed = frozen.system_attrs[PROPOSED]
            assert [proposed[name] for name in mixed_prior.space.names] == pytest.approx(row)

    def test_works_within_other_samplers_and_pruners(self, prior: Prior) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = PartialFixedSampler({"x2": 0.25}, MetaboSampler(prior, seed=0))
        pruner = optuna.pruners.HyperbandPruner()
        study = optuna.create_study(sampler=sampler, pruner=pruner, direction="maximize")
        for _ in range(3):
            study.tell(study.ask(SPACE), 1.0)
        assert [trial.params["x2"] for trial in study.trials] == [0.25] * 3

    def test_can_be_copied(self, line: Prior) -> None:
        study, other = study_of(line), study_of(line)
        other.sampler = copy.deepcopy(study.sampler)
        assert bowl(study.ask()) == bowl(other.ask())

    def test_points_that_were_enqueued_count(self, line: Prior) -> None:
        study = study_of(line)
        study.enqueue_trial({"x": 1.0})
        study.optimize(bowl, n_trials=1)
        assert study.trials[0].params == {"x": 1.0}
        fresh, told = study_of(line).ask(), study.ask()
        assert bowl(fresh) != bowl(told)


@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")
class TestTrialsWithoutAValue:
    def test_running_ones_are_not_proposed_again(self, line: Prior) -> None:
        study = study_of(line)
        asked = [study.ask().suggest_float("x", -4, 4) for _ in range(3)]
        assert min(abs(a - b) for a in asked for b in asked if a is not b) > 0.05

    def test_other_processes_see_what_is_proposed(self, prior: Prior) -> None:
        study = study_of(prior)
        study.ask().suggest_float("x1", -4, 4)  # x2 is proposed, not asked for
        other = optuna.load_study(
            study_name=study.study_name,
            storage=study._storage,
            sampler=MetaboSampler(prior, seed=0),
        )
        first = torch.tensor(list(study.trials[0].system_attrs[PROPOSED].values()))
        second = prior.space.to_tensor(other.ask(SPACE).params)[0]
        assert (prior.space.to_unit(first) - prior.space.to_unit(second)).abs().max() > 0.01

    @pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
    def test_failed_and_pruned_ones_are_worse_than_expected(
        self, line: Prior, state: TrialState
    ) -> None:
        study = study_of(line)
        trial = study.ask()
        x = trial.suggest_float("x", -4, 4)
        study.tell(trial, state=state)
        # At one with the value that was expected, less would be left to fear nearby.
        assert abs(study.ask().suggest_float("x", -4, 4) - x) > 0.05

    def test_the_model_is_the_optimizers(self, line: Prior) -> None:
        study, optimizer = study_of(line), Optimizer(line)
        for x, state in ((0.5, "told"), (-2.0, "told"), (2.0, "failed"), (3.0, "running")):
            study.enqueue_trial({"x": x})
            trial = study.ask()
            y = bowl(trial)
            if state == "told":
                study.tell(trial, y)
                optimizer.tell({"x": x}, y)
            elif state == "failed":
                study.tell(trial, state=TrialState.FAIL)
        history = History.of(study, line.space, without=-1)
        ours = history.surrogate(line, maximize=True)
        pending, failed = torch.tensor([[3.0], [2.0]]).double().split(1)
        theirs = believe(optimizer.model, pending, failed, None)
        grid = line.space.sample(20, seed=0)
        assert torch.equal(ours.posterior(grid).mean, theirs.posterior(grid).mean)
        assert torch.equal(ours.posterior(grid).variance, theirs.posterior(grid).variance)

    def test_infeasible_and_infinite_ones_teach_no_value(self, line: Prior) -> None:
        study = study_of(line)
        for value in (1e6, float("inf"), 1e300, -1e300):
            trial = study.ask()
            trial.suggest_float("x", -4, 4)
            if value == 1e6:
                trial.set_constraint("too hot", 1.0)
            study.tell(trial, value)
        study.optimize(bowl, n_trials=3)  # a value of 1e6 would say that the Prior is wrong
        assert len(study.trials) == 7

    def test_parallel_trials(self, line: Prior) -> None:
        study = study_of(line)
        study.optimize(bowl, n_trials=6, n_jobs=2)
        asked = [trial.params["x"] for trial in study.trials]
        assert len(set(asked)) == 6
        assert study.best_value > 3


class TestOutsideThePrior:
    def test_other_parameters(self, line: Prior) -> None:
        study = study_of(line)
        for _ in range(2):
            trial = study.ask()
            trial.suggest_float("x", -4, 4)
            with pytest.warns(OutsidePriorWarning, match=r"'z' is sampled by TPESampler.*no input"):
                trial.suggest_float("z", 0, 1)
            study.tell(trial, 1.0)
        assert all(PROPOSED in trial.system_attrs for trial in study.trials)

    @pytest.mark.parametrize(
        ("distribution", "reason"),
        [
            (FloatDistribution(-5, 4), r"'x' is -5.0, outside \[-4, 4\]"),
            (IntDistribution(0, 5), r"'x' is 5.0, outside"),
            (CategoricalDistribution([0, 9]), r"'x' is 9.0, outside"),
            (CategoricalDistribution(["a", "b"]), r"'x' is 'a'; it must be a number"),
        ],
    )
    def test_other_ranges(self, line: Prior, distribution: BaseDistribution, reason: str) -> None:
        with pytest.warns(OutsidePriorWarning, match=reason):
            study_of(line).ask({"x": distribution})

    @pytest.mark.parametrize(
        ("distributions", "reason"),
        [
            ({"depth": FloatDistribution(1, 6)}, "only whole numbers"),
            ({"kernel": CategoricalDistribution(["rbf", "cubic"])}, "'cubic'; it must be one of"),
            ({"kernel": IntDistribution(0, 2)}, "not a number: use suggest_categorical"),
        ],
    )
    def test_other_kinds(
        self, mixed_prior: Prior, distributions: dict[str, BaseDistribution], reason: str
    ) -> None:
        with pytest.warns(OutsidePriorWarning, match=reason):
            study_of(mixed_prior).ask(distributions)

    def test_a_study_that_lacks_an_input(self, prior: Prior) -> None:
        study = study_of(prior)
        study.tell(study.ask({"x1": SPACE["x1"]}), 1.0)
        with pytest.warns(OutsidePriorWarning, match="no parameter 'x2', a Prior's input"):
            study.ask({"x1": SPACE["x1"]})

    def test_the_other_sampler_is_the_users(self, line: Prior) -> None:
        sampler = MetaboSampler(
            line, independent_sampler=RandomSampler(seed=3), warn_independent_sampling=False
        )
        ours = optuna.create_study(sampler=sampler).ask()
        theirs = optuna.create_study(sampler=RandomSampler(seed=3)).ask()
        assert ours.suggest_float("z", 0, 1) == theirs.suggest_float("z", 0, 1)
