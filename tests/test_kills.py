"""kill -9 at random moments: nothing told is lost, no file is corrupt, and work goes on.

A fast run tries 3 moments, `pytest -m slow` 50. Children are forked from a process that has loaded
everything but computed nothing, so that a moment costs no start.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metabo.prior import Prior

COUNTS = [3, pytest.param(50, marks=pytest.mark.slow)]

HARNESS = """
import os, random, signal, sys, time
import metabo, metabo.cli, metabo.commands.train
from metabo import *
from metabo.prior import Prior

random.seed(int(sys.argv[1]))

def content(path):
    "All that a prior file holds but how long it took."
    prior = Prior.load(path)
    return prior.digest, {k: v for k, v in prior.provenance.items() if k != "seconds"}

def killed(work, after):
    "Run work in a child and kill it after some seconds; whether it was killed before it ended."
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    end = time.monotonic() + after
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
"""

TELLING = (
    HARNESS
    + """
moments, prior, journal = int(sys.argv[2]), Prior.load(sys.argv[3]), sys.argv[4]
reads, writes = os.pipe()

def tell_on():
    with metabo.Optimizer(prior, journal=journal) as optimizer:
        for i in range(len(optimizer), 10**9):
            x = {"x1": -4 + 8 * (i % 1000) / 1000, "x2": 0.5}
            optimizer.hold(x)
            optimizer.tell(x, float(i))
            os.write(writes, b"%d\\n" % i)

confirmed = 0
for moment in range(moments):
    # At least one is told before the first kill.
    killed(tell_on, 0.2 * random.random() + 0.1 * (moment == 0))
    os.set_blocking(reads, False)
    try:
        confirmed += len(os.read(reads, 1 << 20).splitlines())
    except BlockingIOError:
        pass
    with metabo.Optimizer(prior, journal=journal) as optimizer:
        Y = optimizer.observations[1].squeeze(-1).tolist()
        assert Y == [float(i) for i in range(len(Y))], Y
        assert confirmed <= len(Y) <= confirmed + 1, (confirmed, len(Y))
        assert len(optimizer.pending) <= moment + 1
    confirmed = len(Y)
print(confirmed)
"""
)

TRAINING = (
    HARNESS
    + """
moments, runs, out = int(sys.argv[2]), sys.argv[3], sys.argv[4]
command = ["train", runs, "--task", "batch", "--output", "damage", "--minimize", "--smoke"]

def train(path, *options):
    sys.stderr = open(os.devnull, "w")
    metabo.cli.app([*command, "-o", path, *options], standalone_mode=False)

started = time.monotonic()
assert not killed(lambda: train(out + "-through"), 600)
seconds = time.monotonic() - started
count = 0
while count < moments:
    # Some are killed soon after they went on, some nearly at the end.
    if killed(lambda: train(out, "--resume"), seconds * random.random()):
        count += 1
        if os.path.exists(out):
            Prior.load(out)
    else:
        assert content(out) == content(out + "-through")
        os.remove(out)
assert not killed(lambda: train(out, "--resume"), 600)
assert content(out) == content(out + "-through")
"""
)

BENCHMARK = (
    HARNESS
    + """
from functools import partial
from pathlib import Path
from metabo.benchmark.cells import Cell, run_cells
from metabo.benchmark.loop import optimise
from metabo.benchmark.methods import Random, VanillaGP
from metabo.benchmark.problems import grid_problem

moments, folder, log = int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[3] + ".log")
tasks = LogisticFamily().tasks(8 + 4 * moments, 1, seed=0)
problems = [grid_problem("logistic", task, noise_sd=0.05, objective=None) for task in tasks]

def noted(problem, method):
    rows = optimise(problem, method, 3, seed=0)
    with open(log, "a") as file:
        file.write(f"{problem.task} {method.name}\\n")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

cells = [
    Cell({"task": problem.task, "method": method.name}, partial(noted, problem, method))
    for problem in problems for method in (Random(), VanillaGP())
]
expected = [row for cell in cells for row in cell.call()]  # which also loads all there is to load
log.unlink()

def run():
    sys.stderr = open(os.devnull, "w")
    return run_cells(cells, folder, label="logistic", jobs=1)

count = 0
while count < moments and killed(run, 0.3 * random.random()):
    count += 1
found = run().rows
assert found.to_dict("records") == expected
# What is on the disk is not run again: only the cell in which a kill came may be.
assert len(log.read_text().splitlines()) <= len(cells) + count
print(count)
"""
)

# With many more checkpoints than a command writes in so short a time.
META_TRAINING = (
    HARNESS
    + """
from pathlib import Path
import pandas as pd
from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.heads import HeadSettings
from metabo.meta_training.records import Records
from metabo.meta_training.refine import RefineSettings
from metabo.meta_training.reptile import ReptileSettings

moments, runs, out = int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
settings = MetaTrainSettings(
    features=FeatureSettings(
        hidden=(16, 16),
        reptile=ReptileSettings(outer_steps=100, inner_steps=10),
        refine=RefineSettings(steps=20),
    ),
    heads=HeadSettings(num_components=(1,)),
)

def train(path):
    family = TableFamily.from_frame(pd.read_csv(runs), task="batch", output="damage")
    checkpoint = path.with_suffix(".training") / "reptile.safetensors"
    records = Records(checkpoint=checkpoint, every=5, resume=True)
    meta_train(family, settings=settings, records=records, progress=False).save(path)

through = out.with_name("through")
started = time.monotonic()
assert not killed(lambda: train(through), 600)
seconds = time.monotonic() - started
begun = 0
for _ in range(moments):
    killed(lambda: train(out), seconds * random.random() / 2)
    begun += any(out.with_suffix(".training").glob("reptile-*"))
assert begun
assert not killed(lambda: train(out), 600)
assert content(out) == content(through)
"""
)


def made_runs(folder: Path) -> Path:
    rows = [f"b{b},{d},{(d - 4 - b) ** 2}" for b in range(3) for d in range(6)]
    (folder / "runs.csv").write_text("\n".join(["batch,dose,damage", *rows]))
    return folder / "runs.csv"


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("moments", COUNTS)
def test_while_telling(make_prior: Callable[..., Prior], tmp_path: Path, moments: int) -> None:
    prior = tmp_path / "prior.safetensors"
    make_prior(broad=0.1).save(prior)
    assert int(run(TELLING, moments, moments, prior, tmp_path / "session.jsonl")) >= 3


@pytest.mark.parametrize("moments", COUNTS)
def test_while_training(tmp_path: Path, moments: int) -> None:
    out = tmp_path / "prior.safetensors"
    run(TRAINING, moments, moments, made_runs(tmp_path), out)
    assert Prior.load(out).digest == Prior.load(f"{out}-through").digest
    # What a kill has left half written is gone, too.
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(f".{0:08x}")}
    assert not [name for name in left if name.endswith(".training")], left


@pytest.mark.parametrize("moments", COUNTS)
def test_during_a_benchmark(tmp_path: Path, moments: int) -> None:
    assert int(run(BENCHMARK, moments, moments, tmp_path / "cells")) == moments


@pytest.mark.slow
def test_while_reptile_is_under_way(tmp_path: Path) -> None:
    """It goes on from the middle of a network's training, to the same Prior bit for bit."""
    run(META_TRAINING, 0, 10, made_runs(tmp_path), tmp_path / "prior.safetensors")
