"""Early stopping on held-out tasks."""

from __future__ import annotations

import csv

import pytest
import torch
from torch import Tensor

from metabo.meta_training.held_out import EarlyStopping, HeldOut
from metabo.meta_training.inner_loop import adapt
from metabo.meta_training.learner import choose_learner
from metabo.meta_training.records import Records
from metabo.meta_training.reptile import ReptileSettings, reptile
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

SETTINGS = ReptileSettings(outer_steps=40, tasks_per_step=4, inner_steps=5, points_per_step=5)


def sines(num_tasks: int, seed: int, sign: float = 1.0) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)
    X = 3 * torch.rand(num_tasks, 12, 1, generator=generator) - 1.5
    height = sign * (1 + torch.rand(num_tasks, 1, generator=generator))
    return TaskBatch(X, height * torch.sin(2 * X.squeeze(-1)), torch.full((num_tasks,), 12))


def network() -> MLP:
    return MLP(1, (16, 16), generator=torch.Generator().manual_seed(0))


def train(held_out: HeldOut, records: Records | None = None, outer_steps: int = 40) -> MLP:
    settings = ReptileSettings(outer_steps, 4, 5, 5, inner_step_size=0.05)
    return reptile(
        sines(8, seed=1),
        network(),
        settings,
        seed=0,
        device="cpu",
        progress=False,
        records=records,
        held_out=held_out,
    )


def curve(path) -> list[tuple[int, float]]:
    with path.open(newline="") as file:
        rows = [(int(r["outer_step"]), r["held_out_loss"]) for r in csv.DictReader(file)]
    return [(step, float(loss)) for step, loss in rows if loss]


def assert_same_bits(one: list[Tensor], other: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def stopping(tasks: TaskBatch, start: MLP, patience: int = 2) -> EarlyStopping:
    weights = [w.detach() for w in start.layers]
    held_out = HeldOut(tasks, patience=patience)
    return EarlyStopping(held_out, choose_learner(start), weights, steps=3, points=4, seed=0)


def test_the_loss_is_that_of_observations_that_were_not_adapted_to():
    # Two observations a task: whichever is adapted to, the other is what is judged by.
    X = torch.tensor([[[-1.0], [1.0]]])
    Y = torch.tensor([[-0.5, 0.8]])
    start = network()
    weights = [w.detach() for w in start.layers]
    found = stopping(TaskBatch(X, Y, torch.tensor([2])), start).look(weights, 0.1)
    expected = []
    for support, query in ((0, 1), (1, 0)):
        x, y = X[:, [support]].expand(3, 1, 4, 1), Y[:, [support]].expand(3, 1, 4)
        layers = adapt(start, x, y, 0.1).layers
        own = MLP(1, (16, 16))
        for w, layer in zip(own.layers, layers, strict=True):
            w.data = layer[0]
        expected.append(float((own(X[0, [query]]) - Y[0, query]).square().detach()))
    assert any(found == pytest.approx(value, rel=1e-4) for value in expected)
    assert expected[0] != pytest.approx(expected[1], rel=0.1)


def test_padding_is_never_seen():
    tasks = sines(3, seed=5)
    counts = torch.tensor([2, 7, 12])
    clean = TaskBatch(tasks.X, tasks.Y, counts)
    Y = torch.where(clean.mask, tasks.Y, torch.nan)
    start = network()
    weights = [w.detach() for w in start.layers]
    looks = [stopping(t, start).look(weights, 0.1) for t in (clean, TaskBatch(tasks.X, Y, counts))]
    assert looks[0] == looks[1]


def test_it_stops_after_so_many_looks_without_a_gain_and_keeps_the_best():
    start = network()
    weights = [w.detach().clone() for w in start.layers]
    early = stopping(sines(4, seed=2), start)
    first = early.look(weights, 0.05)
    worse = [w + 3.0 for w in weights]
    assert early.look(worse, 0.05) > first
    assert not early.stopped
    early.look(worse, 0.05)
    assert early.stopped
    assert early.loss == first
    assert_same_bits(early.best, weights)


def test_tasks_of_another_family_stop_the_run_early(tmp_path):
    # The held-out sines are upside down: the better training goes, the worse for them.
    held_out = HeldOut(sines(8, seed=2, sign=-1.0), every=2, patience=3)
    path = tmp_path / "curve.csv"
    trained = train(held_out, Records(curve=path), outer_steps=1000)
    looks = curve(path)
    losses = [loss for _, loss in looks]
    best = losses.index(min(losses))
    assert [step for step, _ in looks] == list(range(2, 2 * len(looks) + 1, 2))
    assert len(looks) == best + 1 + 3 < 500
    assert [w.shape for w in trained.layers] == [w.shape for w in network().layers]


def test_the_best_weights_are_returned_not_the_last(tmp_path):
    held_out = HeldOut(sines(8, seed=2, sign=-1.0), every=2, patience=3)
    trained = train(held_out, Records(curve=tmp_path / "curve.csv"), outer_steps=1000)
    judge = stopping_of(held_out)
    weights = [w.detach() for w in trained.layers]
    lowest = min(loss for _, loss in curve(tmp_path / "curve.csv"))
    assert judge.look(weights, 0.05) == pytest.approx(lowest, rel=1e-6)


def stopping_of(held_out: HeldOut) -> EarlyStopping:
    weights = [w.detach() for w in network().layers]
    learner = choose_learner(network())
    return EarlyStopping(held_out, learner, weights, steps=5, points=5, seed=0)


def test_a_run_resumes_with_what_it_knew_of_the_best(tmp_path):
    held_out = HeldOut(sines(8, seed=2, sign=-1.0), every=2, patience=3)
    path = tmp_path / "run.safetensors"
    whole = train(held_out, Records(path, every=1), outer_steps=1000)
    resumed = train(held_out, Records(path, resume=True), outer_steps=1000)
    assert_same_bits(list(whole.layers), list(resumed.layers))


def test_without_a_reason_to_stop_all_steps_are_taken(tmp_path):
    path = tmp_path / "curve.csv"
    train(HeldOut(sines(8, seed=2), every=10, patience=100), Records(curve=path))
    looks = curve(path)
    assert [step for step, _ in looks] == [10, 20, 30, 40]
    assert looks[-1][1] < looks[0][1]


def test_what_cannot_be_judged_by_is_refused():
    tasks = sines(2, seed=0)
    with pytest.raises(ValueError, match="held-out task 1 has fewer than 2 observations"):
        HeldOut(TaskBatch(tasks.X, tasks.Y, torch.tensor([12, 1])))
    with pytest.raises(ValueError, match="patience must be at least 1"):
        HeldOut(tasks, patience=0)
    wide = TaskBatch(tasks.X.expand(-1, -1, 2), tasks.Y, tasks.counts)
    with pytest.raises(ValueError, match="held-out tasks have 2 encoded inputs"):
        train(HeldOut(wide))
