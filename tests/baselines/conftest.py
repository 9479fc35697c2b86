"""Earlier tasks that are alike: bumps on a line, in units of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.task_gps import TaskGPs
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

LINE = InputSpace.from_bounds((-4, 4))
GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


def bump(centre: float) -> Tensor:
    """Values on the grid, `41 x 1`."""
    return (-0.5 * (GRID - centre).square()).exp()


def bumps(*centres: float) -> TableFamily:
    tasks = [
        Task(f"bump {i}", LINE, GRID, i + (1 + 0.2 * i) * bump(centre))
        for i, centre in enumerate(centres)
    ]
    return TableFamily(tasks, LINE)


@pytest.fixture(scope="session")
def runs() -> EarlierRuns:
    """Five earlier bumps on the right, measured on the whole grid."""
    return EarlierRuns(bumps(1.0, 1.4, 1.8, 2.2, 2.6))


@pytest.fixture(scope="session")
def gps(runs: EarlierRuns) -> TaskGPs:
    return TaskGPs(runs)


@pytest.fixture(scope="session")
def opposites() -> EarlierRuns:
    """One earlier bump on the right, one on the left."""
    return EarlierRuns(bumps(2.0, -2.0))
