"""From a family to a Prior."""

import json
import math
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms.input import Normalize
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Tensor

from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.heads import HeadSettings
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train, points_per_task
from metabo.meta_training.refine import RefineSettings
from metabo.meta_training.reptile import ReptileSettings
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import InputSpace
from metabo.surrogates import MixturePriorGP, ReptileKernelGP, ReptileMeanGP
from metabo.tasks import LogisticFamily, TableFamily
from metabo.tasks.task import Task, TaskFamily

TINY = MetaTrainSettings(
    num_tasks=20,
    points_per_task=8,
    features=FeatureSettings(
        hidden=(8,),
        reptile=ReptileSettings(outer_steps=5, tasks_per_step=8, inner_steps=3, points_per_step=4),
        refine=RefineSettings(steps=5),
    ),
    heads=HeadSettings(num_components=(1, 2)),
)


def train(family: TaskFamily, settings: MetaTrainSettings = TINY, seed: int = 0) -> Prior:
    return meta_train(family, seed=seed, settings=settings, device="cpu", progress=False)


def predictions(prior: Prior) -> Tensor:
    X = prior.space.sample(6, seed=1)
    posterior = MixturePriorGP(X[:2], X[:2, :1] * 0 + prior.output_offset, prior).posterior(X)
    return torch.cat([posterior.mean, posterior.variance])


def table(num_tasks: int, points: int = 6, *, constant: bool = False) -> TableFamily:
    """Ragged tasks of two inputs: of `points` observations, and one, two ... fewer."""
    generator = torch.Generator().manual_seed(0)
    space = InputSpace.from_bounds([[0.0, 0.0], [1.0, 1.0]])
    tasks = []
    for t in range(num_tasks):
        n = max(points - t % 4, 1)
        X = torch.rand(n, 2, generator=generator).double()
        Y = (3 * X[:, :1]).sin() + torch.rand(1, generator=generator) * X[:, 1:]
        tasks.append(Task(f"task {t}", space, X, torch.full_like(Y, 2.5) if constant else Y))
    return TableFamily(tasks, space)


@pytest.mark.parametrize("num_tasks", [1, 2, 3, 20])
@pytest.mark.parametrize("constant", [False, True])
def test_tables_of_any_size(num_tasks: int, constant: bool) -> None:
    family = table(num_tasks, constant=constant)
    prior = train(family)
    assert predictions(prior).isfinite().all()
    assert prior.space == family.space
    weights = prior.mixture.log_weights.exp()
    broad = weights[prior.mixture.is_broad].sum().item()
    assert broad == pytest.approx(max(1 / (num_tasks + 2), 0.01))
    observations = sum(max(6 - t % 4, 1) for t in range(num_tasks))
    assert prior.provenance["data"] == {
        "num_tasks": num_tasks,
        "num_observations": observations,
    }
    if constant:
        centre = prior.space.sample(1, seed=0)
        model = MixturePriorGP(centre, torch.full((1, 1), 2.5).double(), prior)
        assert model.posterior(centre).mean.item() == pytest.approx(2.5, abs=0.1)


def of_one_input(*outputs: list[float], spread: float = 1.0) -> TableFamily:
    """A task for each list of outputs; no two observations are of one point, if there is spread."""
    space = InputSpace.from_bounds((0.0, 1.0))
    generator = torch.Generator().manual_seed(0)
    tasks = []
    for i, values in enumerate(outputs):
        X = 0.5 + spread * (torch.rand(len(values), 1, generator=generator).double() - 0.5)
        tasks.append(Task(f"task {i}", space, X, torch.tensor(values).double().unsqueeze(-1)))
    return TableFamily(tasks, space)


def test_two_tasks_of_one_observation() -> None:
    prior = train(of_one_input([1.0], [2.0]), MetaTrainSettings.smoke())
    assert prior.provenance["chosen"]["shifts"] is None


@pytest.mark.parametrize("outputs", [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0, 1.0, 3.0] * 2]])
def test_one_point(outputs: list[list[float]]) -> None:
    """So many observations are of the same that the mean of its features is exact."""
    prior = train(of_one_input(*outputs, spread=0.0), MetaTrainSettings.smoke())
    assert predictions(prior).isfinite().all()
    assert prior.plain is not None
    assert all(
        map(math.isfinite, [prior.plain.on_features.outputscale, prior.plain.on_features.noise])
    )


def test_each_task_at_a_point_of_its_own() -> None:
    space = InputSpace.from_bounds((0.0, 1.0))
    Y = torch.tensor([[1.0], [1.5]]).double()
    tasks = [Task(str(x), space, torch.full((2, 1), x).double(), Y + x) for x in (0.2, 0.8)]
    assert predictions(train(TableFamily(tasks, space))).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("levels", [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
def test_nothing_changes_along_the_input(levels: list[float]) -> None:
    """With the default settings, by which the shifts would be looked at closely."""
    prior = train(of_one_input(*[[level] * 4 for level in levels]), MetaTrainSettings())
    assert predictions(prior).isfinite().all()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([[1.0]], "there is one observation"),
        ([[1.0, 2.0, 3.0, 4.0]], "all observations are of one point"),
        ([[1.0], [2.0], [3.0]], "all observations are of one point"),
    ],
)
def test_too_few_observations_are_refused(outputs: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(of_one_input(*outputs, spread=0.0))


def test_the_seed_decides() -> None:
    first, second, other = (train(LogisticFamily(), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(predictions(first), predictions(second))
    for name, value in first.mixture.tensors().items():
        assert torch.equal(value, second.mixture.tensors()[name]), name
    assert not torch.equal(predictions(first), predictions(other))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"the seed is {seed}: give a whole number from 0 to 42"):
        meta_train(LogisticFamily(), seed=seed)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    train(LogisticFamily())
    assert torch.equal(torch.get_rng_state(), state)


def test_units_of_the_output_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    space = InputSpace.from_bounds((0.0, 1.0))
    X = torch.rand(20, 6, 1, generator=generator).double()
    Y = (3 * X).sin() + torch.rand(20, 1, 1, generator=generator)
    small, large = (
        train(TableFamily([Task(str(t), space, X[t], u(Y[t])) for t in range(20)], space))
        for u in (lambda y: y, lambda y: 1e6 * y - 3e6)
    )
    found, expected = predictions(large), predictions(small)
    torch.testing.assert_close(found[:6], 1e6 * expected[:6] - 3e6, rtol=1e-3, atol=10.0)
    torch.testing.assert_close(found[6:], 1e12 * expected[6:], rtol=1e-2, atol=0)


def test_outputs_over_many_orders_of_magnitude_are_warped() -> None:
    generator = torch.Generator().manual_seed(0)
    space = InputSpace.from_bounds((0.0, 1.0))
    tasks = []
    for t in range(20):
        X = torch.rand(12, 1, generator=generator).double()
        level = torch.randn(1, generator=generator).double()
        noise = 0.1 * torch.randn(12, 1, generator=generator).double()
        tasks.append(Task(str(t), space, X, ((6 * X).sin() + level + noise).mul(3).exp()))
    prior = train(TableFamily(tasks, space))
    assert prior.warp is not None
    assert prior.provenance["chosen"]["warp"] == asdict(prior.warp)
    middle = prior.to_user(torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(prior.to_model(middle), torch.zeros(1, dtype=torch.float64))
    assert 0.1 < float(middle) < 30  # exp(3 u) has the median 1 and the mean 90


def test_a_table_whose_tasks_differ_by_level_is_modelled_so() -> None:
    generator = torch.Generator().manual_seed(0)
    space = InputSpace.from_bounds((0.0, 1.0))

    def made(spread: float) -> TableFamily:
        tasks = []
        for t in range(24):
            X = torch.rand(12, 1, generator=generator).double()
            offset, scale = torch.randn(2, generator=generator).double() * spread
            Y = offset * 3 + scale.exp() * (6 * X).sin()
            tasks.append(Task(f"{t}", space, X, Y))
        return TableFamily(tasks, space)

    # Unrefined features and few of them, or a head would learn the levels itself.
    settings = replace(TINY, features=replace(TINY.features, hidden=(3,)))
    assert train(made(1.0), settings).provenance["chosen"]["levels"] is True
    assert train(made(0.0), settings).provenance["chosen"]["levels"] is False


def test_frame_to_minimise_and_mixed_inputs(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "data": ["a", "b", "c", "d"] * 6,
            "rate": [10.0 ** -(i % 5) for i in range(24)],
            "kernel": ["rbf", "linear"] * 12,
            "loss": [0.1 * (i % 7) for i in range(24)],
        }
    )
    family = TableFamily.from_frame(
        frame, task="data", inputs=["rate", "kernel"], output="loss", minimize=True
    )
    prior = train(family)
    assert prior.minimize
    assert prior.output_offset == pytest.approx(-frame.loss.mean())
    prior.save(tmp_path / "prior")
    assert torch.equal(predictions(Prior.load(tmp_path / "prior")), predictions(prior))


def test_provenance_says_how_to_make_it_again() -> None:
    prior = train(LogisticFamily(), seed=3)
    provenance = json.loads(json.dumps(prior.provenance))
    assert provenance["seed"] == 3
    assert provenance["data"] == {"num_tasks": 20, "num_observations": 160}
    assert provenance["settings"]["features"]["reptile"]["outer_steps"] == 5
    assert provenance["software"]["torch"] == version("torch")
    assert provenance["chosen"]["num_components"] in (1, 2)
    assert provenance["chosen"]["noise_sd"] > 0
    assert provenance["seconds"] > 0
    assert provenance["family"] == json.loads(json.dumps(LogisticFamily().describe()))


@pytest.mark.slow
def test_few_shot_predictions_beat_a_vanilla_gp() -> None:
    family = LogisticFamily()
    settings = MetaTrainSettings(
        num_tasks=300,
        points_per_task=20,
        features=FeatureSettings(
            reptile=ReptileSettings(outer_steps=40), refine=RefineSettings(steps=150)
        ),
    )
    prior = train(family, settings)
    grid = torch.linspace(-4, 4, 100).double().unsqueeze(-1)
    errors: dict[str, list[Tensor]] = {"metabo": [], "vanilla": []}
    inside = []
    for task in family.tasks(30, 5, seed=10_000):
        assert task.function is not None
        truth = task.function(grid)
        posterior = MixturePriorGP(task.X, task.Y, prior).posterior(grid)
        to_unit = Normalize(1, bounds=family.space.bounds)
        vanilla = SingleTaskGP(task.X, task.Y, input_transform=to_unit)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(vanilla.likelihood, vanilla))
        errors["metabo"].append((posterior.mean - truth).square().mean())
        errors["vanilla"].append((vanilla.posterior(grid).mean - truth).square().mean().detach())
        low, high = posterior.quantile(torch.tensor([0.05, 0.95]))
        inside.append(((low < truth) & (truth < high)).double().mean())
    mean = {name: torch.stack(values).mean().item() for name, values in errors.items()}
    assert mean["metabo"] < 0.35 * mean["vanilla"]
    assert 0.75 < torch.stack(inside).mean().item() <= 1.0


def test_effects_of_single_points_are_learned_and_used() -> None:
    """The same settings in all tasks, one of which is better than its neighbours each time."""
    generator = torch.Generator().manual_seed(0)
    space = InputSpace.from_bounds((0.0, 1.0))
    x = torch.linspace(0, 1, 150).double()[:, None].round(decimals=6)
    effects = 0.3 * torch.randn(150, 1, generator=generator).double()
    tasks = [
        Task(
            str(t), space, x, 2 * x + t + effects + 0.05 * torch.randn(150, 1, generator=generator)
        )
        for t in range(6)
    ]
    settings = replace(MetaTrainSettings.smoke(), table_points_per_task=150)
    prior = train(TableFamily(tasks, space), settings)
    assert prior.known is not None
    assert prior.provenance["chosen"]["effects"]["mean"] > 0.7
    assert prior.known_points.sort(0).values.tolist() == x[135:].tolist()
    best = 135 + int(effects[135:].argmax())
    assert Optimizer(prior, candidates=x).ask() == {"x": float(x[best])}
    assert Optimizer(prior).ask() == {"x": float(x[best])}
    for surrogate in (ReptileMeanGP, ReptileKernelGP):
        model = surrogate(x[:3], tasks[0].Y[:3], prior)
        assert int(model.posterior(x).mean.argmax()) == best


def test_tasks_with_points_of_their_own_have_no_effects() -> None:
    prior = train(table(20))
    assert prior.known is None
    assert prior.provenance["chosen"]["effects"] is None
    assert len(prior.known_points) == 0


def test_long_tasks_are_cut_only_where_tasks_are_very_many() -> None:
    def table(num_tasks: int) -> TableFamily:
        space = InputSpace.from_bounds((0, 1))
        lengths = [50_000, *[2] * (num_tasks - 1)]
        X = torch.linspace(0, 1, 50_000, dtype=torch.float64).unsqueeze(-1)
        return TableFamily(
            [Task(f"{i}", space, X[:n], X[:n]) for i, n in enumerate(lengths)], space
        )

    settings = MetaTrainSettings()
    assert points_per_task(table(8), settings) == 30_000
    assert points_per_task(table(400), settings) == 5_000
    assert points_per_task(LogisticFamily(), settings) == settings.points_per_task
