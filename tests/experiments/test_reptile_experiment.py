"""The related work's experiment: its comparisons are fair, its errors are of points not seen."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest
import torch

from metabo import LogisticFamily, MixturePriorGP
from metabo.meta_training.learner import choose_learner
from metabo.meta_training.reptile import REPTILE, ReptileSettings, reptile
from metabo.network import MLP
from metabo.space import InputSpace

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))


def some_curves(count: int = 6, points: int = 30):
    from parts.starting_points import curves

    return curves(LogisticFamily(), count, points, seed=3)


def minibatches(steps: int = 4, tasks: int = 3):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(steps, tasks, 5, 1, generator=generator, dtype=torch.float64)
    return X, torch.sin(2 * X.squeeze(-1)) * torch.arange(1.0, tasks + 1)[:, None].double()


def test_defaults_are_those_of_the_related_code() -> None:
    from parts.reptile_settings import Settings

    expected = {
        "task": "logistic",
        "inner_step_size": 0.02,
        "inner_batch_size": 5,
        "outer_step_size": 0.1,
        "outer_iterations": 10_000,
        "meta_batch_size": 10,
        "model_size": 32,
        "evaluation_iterations": 32,
        "evaluation_batch_size": 10,
        "evaluation_range": (1, 11),
        "sample_radius": 4,
        "sample_count": 100,
    }
    assert {name: getattr(Settings(), name) for name in expected} == expected


def test_settings_that_cannot_be_are_refused() -> None:
    from parts.reptile_settings import Settings

    with pytest.raises(ValueError, match="task must be one of logistic, normal; got 'sine'"):
        Settings(task="sine")
    with pytest.raises(ValueError, match="at most half of the 15 points"):
        Settings(sample_count=15)


def test_one_task_at_a_time_leaves_the_same_weights() -> None:
    from parts.related_loop import as_module, train

    tasks = some_curves().batch
    network = MLP(1, (8, 8, 8), generator=torch.Generator().manual_seed(1)).double()
    settings = ReptileSettings(4, 3, 5, 4, 0.05, 0.3)
    ours = reptile(tasks, network, settings, seed=7, device="cpu", progress=False)
    theirs = as_module(network)
    train(theirs, tasks, settings, seed=7, outer_steps=4)
    for expected, found in zip(as_module(ours).parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    assert not torch.allclose(as_module(network)[0].weight, theirs[0].weight)


def test_joint_pre_training_goes_down_the_gradient_of_all_tasks() -> None:
    from parts.starting_points import JOINT

    network = MLP(1, (6, 6), generator=torch.Generator().manual_seed(0)).double()
    X, Y = minibatches()
    moved = JOINT.displacement(
        choose_learner(network), [w.detach() for w in network.layers], X, Y, 0.1
    )
    loss = (network(X).squeeze(-1) - Y).square().mean()
    slopes = torch.autograd.grad(loss, list(network.layers))
    torch.testing.assert_close(moved.losses, loss.detach().expand(2))
    for step, slope in zip(moved.weights, slopes, strict=True):
        torch.testing.assert_close(step, -slope)


def test_reptile_is_a_sum_of_first_order_gradients_however_many_the_steps() -> None:
    """No derivative of a derivative: it runs where autograd cannot record anything at all."""
    network = MLP(1, (6, 6), generator=torch.Generator().manual_seed(0)).double()
    X, Y = minibatches(steps=12, tasks=1)
    start = [w.detach() for w in network.layers]
    with torch.inference_mode():
        moved = REPTILE.displacement(choose_learner(network), start, X, Y, 0.1).weights
    total = [torch.zeros_like(w) for w in start]
    for x, y in zip(X[:, 0], Y[:, 0], strict=True):
        loss = (network(x).squeeze(-1) - y).square().mean()
        for w, sum_, slope in zip(
            network.layers, total, torch.autograd.grad(loss, list(network.layers)), strict=True
        ):
            sum_ += slope
            w.data -= 0.1 * slope
    for step, sum_ in zip(moved, total, strict=True):
        torch.testing.assert_close(step, -0.1 * sum_)


def test_a_fold_is_seen_and_the_points_of_all_others_are_scored() -> None:
    from parts.cross_validation import errors, folds

    test = some_curves()
    cut = folds(30, 10, 6, seed=0)
    assert torch.equal(cut.flatten(1).sort(-1).values, torch.arange(30).expand(6, -1))
    seen = []

    def off_by_half(X, Y, query):
        seen.append((X, query))
        curve = torch.arange(6).repeat_interleave(3)
        where = (query[:, :, None, 0] == test.batch.X[curve, None, :, 0]).int().argmax(-1)
        return test.truth[curve[:, None], where] + 0.5

    for n in (1, 10):
        found = errors(test, cut, n, off_by_half)
        expected = torch.full((6,), 0.25 * test.scale**2, dtype=torch.float64)
        torch.testing.assert_close(found, expected)
    for (X, query), n in zip(seen, (1, 10), strict=True):
        assert X.shape == (18, n, 1)
        assert query.shape == (18, 20, 1)
        assert not (X[:, :, None] == query[:, None]).any()
    assert torch.equal(seen[0][1], seen[1][1])


def test_the_mixture_is_asked_in_the_users_units(make_prior) -> None:
    from parts.cross_validation import by_mixture

    test = some_curves()
    prior = make_prior(InputSpace.from_bounds([[-4.0], [4.0]]), broad=0.1)
    X, Y = test.batch.X, test.batch.Y
    found = by_mixture(prior, test)(X[:, :3], Y[:, :3], X[:, 3:])
    x = torch.linspace(-4, 4, 30, dtype=torch.float64)[:, None]
    y = test.offset + test.scale * Y[2, :, None]
    expected = MixturePriorGP(x[:3], y[:3], prior).posterior(x[3:]).mean[:, 0]
    torch.testing.assert_close(test.offset + test.scale * found[2], expected)


@pytest.mark.slow
def test_smoke(tmp_path: Path) -> None:
    script = runpy.run_path(str(EXPERIMENTS / "reptile_experiment.py"))
    script["main"](task="normal", smoke=True, seed=2, out=tmp_path, board=tmp_path / "board")
    rows = pd.read_csv(tmp_path / "rows.csv")
    methods = ["Reptile", "first-order MAML", "MAML", "joint pre-training"]
    assert list(rows["method"].unique()) == [*methods, "random initialisation", "metabo"]
    assert rows["n"].unique().tolist() == list(range(1, 11))
    assert (rows["squared_error"] > 0).all()
    assert (pd.read_csv(tmp_path / "timing.csv")["seconds_a_step"] > 0).all()
    assert pd.read_csv(tmp_path / "training.csv")["outer_iterations"].tolist() == [5, 2, 2, 5, 0]
    settings = json.loads((tmp_path / "meta.json").read_text())["settings"]
    assert (settings["task"], settings["seed"]) == ("normal", 2)
    for name in ("training_loss", "adaptation", "error"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    _check_board(tmp_path / "board" / "normal")


def _check_board(folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "Reptile")).Reload()
    assert len(events.Scalars("loss_after")) == 5
    assert len(events.Scalars("cross-validated squared error, by support points")) == 10
    pictures = EventAccumulator(str(folder / "pictures")).Reload()
    assert set(pictures.Tags()["images"]) == {"training_loss", "adaptation", "error"}
