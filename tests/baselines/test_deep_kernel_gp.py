"""Few-shot Bayesian optimisation: does the kernel learn what the tasks share?"""

from __future__ import annotations

import math

import pytest
import torch

from metabo.baselines.deep_kernel_gp import DeepKernelSearch, FewShotDeepKernel
from metabo.baselines.earlier_runs import EarlierRuns
from metabo.tasks import TableFamily, Task

GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


@pytest.fixture(scope="module")
def learned(runs: EarlierRuns) -> FewShotDeepKernel:
    return FewShotDeepKernel(runs, steps=150)


def left_out_loss(learned: FewShotDeepKernel) -> float:
    """Of a bump that was not trained on, from 20 points."""
    x = GRID[::2]
    y = (-0.5 * (x - 1.6).square()).exp()[:, 0]
    X = learned.runs.space.encode(x).unsqueeze(0)
    Y = ((y - y.mean()) / y.std()).unsqueeze(0)
    with torch.no_grad():
        return float(learned.process.loss(X, Y, torch.ones_like(Y, dtype=torch.bool)))


def test_the_loss_decreases(learned: FewShotDeepKernel) -> None:
    losses = torch.tensor(learned.losses)
    assert len(losses) == 150
    assert losses[-20:].mean() < losses[:20].mean() - 0.3


def test_it_learns_more_than_from_tasks_with_shuffled_answers(
    learned: FewShotDeepKernel, runs: EarlierRuns
) -> None:
    generator = torch.Generator().manual_seed(0)
    shuffled = [
        Task(t.name, t.space, t.X, t.Y[torch.randperm(len(t), generator=generator)])
        for t in runs.tasks
    ]
    nothing = FewShotDeepKernel(EarlierRuns(TableFamily(shuffled, runs.space)), steps=150)
    assert left_out_loss(learned) < left_out_loss(nothing) - 0.5


def test_seeds_decide_everything(learned: FewShotDeepKernel, runs: EarlierRuns) -> None:
    again = FewShotDeepKernel(runs, steps=5).losses
    assert again == FewShotDeepKernel(runs, steps=5).losses
    assert again != FewShotDeepKernel(runs, steps=5, seed=1).losses


def test_fine_tuning_leaves_what_was_learned_alone(learned: FewShotDeepKernel) -> None:
    X, Y = learned.runs.space.encode(GRID[::8]), GRID[::8, 0].sin()
    mask = torch.ones(1, len(Y), dtype=torch.bool)
    search = DeepKernelSearch(learned, GRID)
    before = float(learned.process.loss(X[None], Y[None], mask).detach())
    tuned = search.fine_tuned(X, Y)
    assert float(tuned.loss(X[None], Y[None], mask).detach()) < before
    assert float(learned.process.loss(X[None], Y[None], mask).detach()) == before


def test_it_finds_the_top_from_the_best_earlier_point_on(learned: FewShotDeepKernel) -> None:
    search = DeepKernelSearch(learned, GRID)
    # Regrets of single points, averaged by hand: the middle one of the five tops.
    assert search.ask()["x"] == pytest.approx(1.8, abs=0.01)
    for _ in range(7):
        x = search.ask()
        search.tell(x, 2 + math.exp(-0.5 * (x["x"] - 2.4) ** 2))
    assert (search.X - 2.4).abs().min() < 0.21
