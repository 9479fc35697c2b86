"""Reptile's outer loop."""

from __future__ import annotations

import pytest
import torch

from metabo.meta_training.inner_loop import adapt
from metabo.meta_training.reptile import DivergedError, ReptileSettings, reptile
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

SMALL = ReptileSettings(outer_steps=5, tasks_per_step=4, inner_steps=3, points_per_step=5)


def sines(num_tasks: int = 20, num_points: int = 12) -> TaskBatch:
    """Sines of random height, a family that a network learns in a few steps."""
    generator = torch.Generator().manual_seed(0)
    X = 3 * torch.rand(num_tasks, num_points, 1, generator=generator, dtype=torch.float64) - 1.5
    height = 0.5 + torch.rand(num_tasks, 1, generator=generator, dtype=torch.float64)
    counts = torch.full((num_tasks,), num_points)
    return TaskBatch(X, height * torch.sin(2 * X.squeeze(-1)), counts)


def network(seed: int = 0, dtype: torch.dtype = torch.float32) -> MLP:
    return MLP(1, (16, 16), generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_one_outer_step_moves_towards_the_mean_adapted_network():
    # One task of one observation: every minibatch is the same, whatever is drawn.
    x, y = torch.tensor([[[0.3]]]), torch.tensor([[0.7]])
    batch = TaskBatch(x, y, torch.tensor([1]))
    settings = ReptileSettings(1, 3, 4, 2, inner_step_size=0.1, outer_step_size=0.25)
    start = network()
    trained = reptile(batch, start, settings, seed=0, device="cpu", progress=False)
    adapted = adapt(start, x.expand(4, 1, 2, 1), y.expand(4, 1, 2), 0.1)
    for before, after, goal in zip(start.layers, trained.layers, adapted.layers, strict=True):
        torch.testing.assert_close(after, before + 0.25 * (goal[0] - before))


def test_training_lowers_the_loss_after_adapting():
    batch, start = sines(), network()
    settings = ReptileSettings(outer_steps=150, tasks_per_step=10, inner_steps=10)
    trained = reptile(batch, start, settings, seed=0, device="cpu", progress=False)
    X, Y = batch.X.float().expand(10, -1, -1, -1), batch.Y.float().expand(10, -1, -1)
    before, after = (adapt(n, X, Y, 0.02).losses[-1].mean() for n in (start, trained))
    assert after < 0.5 * before


def test_the_seed_decides_the_result():
    runs = [
        reptile(sines(), network(), SMALL, seed=seed, device="cpu", progress=False).layers
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not torch.equal(runs[0][0], runs[2][0])


def test_the_given_network_and_the_global_generator_are_left_alone():
    start = network()
    before = [w.detach().clone() for w in start.layers]
    state = torch.get_rng_state()
    reptile(sines(), start, SMALL, seed=0, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(start.layers, before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_double_network_stays_double():
    trained = reptile(sines(), network(dtype=torch.float64), SMALL, seed=0, progress=False)
    assert {w.dtype for w in trained.layers} == {torch.float64}


def test_divergence_names_the_setting_and_keeps_the_last_good_weights():
    settings = ReptileSettings(outer_steps=30, inner_step_size=20.0)
    with pytest.raises(DivergedError, match="lower inner_step_size") as error:
        reptile(sines(), network(), settings, seed=0, device="cpu", progress=False)
    assert all(w.isfinite().all() for w in error.value.network.layers)


def test_the_progress_bar_goes_to_standard_error_and_only_when_asked(capfd):
    reptile(sines(), network(), SMALL, seed=0, progress=False)
    assert capfd.readouterr() == ("", "")
    reptile(sines(), network(), SMALL, seed=0, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "5/5" in err
    assert "loss" in err


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="1 encoded inputs but the network takes 2"):
        reptile(sines(), MLP(2), SMALL, seed=0)


@pytest.mark.parametrize("setting", ["outer_steps", "points_per_step", "inner_step_size"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_settings_must_be_positive(setting, value):
    with pytest.raises(ValueError, match=setting):
        ReptileSettings(**{setting: value})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives_on_one_task():
    batch = sines(num_tasks=1, num_points=1)
    on = [
        reptile(batch, network(), SMALL, seed=0, device=device, progress=False).layers
        for device in ("cpu", "cuda")
    ]
    for cpu, cuda in zip(*on, strict=True):
        torch.testing.assert_close(cpu, cuda, rtol=1e-4, atol=1e-5)
