"""Tables of 1,000,000 rows: the right answer or a clear error, in bounded memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from metabo.prior import Prior

Run = Callable[..., Result]

ROWS = 1_000_000
MOST_GB = 3.0


def table(num_tasks: int, rows: int) -> pd.DataFrame:
    """Bowls whose bottoms move."""
    generator = np.random.default_rng(0)
    task = np.repeat(np.arange(num_tasks), rows // num_tasks)
    X = generator.uniform(-1, 1, (len(task), 2)).round(6)
    X[:, 1] = 0.5 + X[:, 1] / 2
    bottom = generator.uniform(-0.5, 0.5, num_tasks)[task]
    y = -((X[:, 0] - bottom) ** 2) - X[:, 1] ** 2
    return pd.DataFrame({"task": task, "x1": X[:, 0], "x2": X[:, 1], "y": y.round(6)})


def measured(*arguments: object) -> tuple[int, str, float]:
    """Run a command by itself: its exit code, what it says, and the most memory it held, in GB."""
    command = [sys.executable, "-m", "metabo", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, env=environment) as run:
        assert run.stdout is not None
        said = run.stdout.read().decode()
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    return run.returncode, said, usage.ru_maxrss / 1e6


def test_too_many_observations_are_refused(metabo: Run, prior_file: Path, tmp_path: Path) -> None:
    table(1, 2001).to_csv(tmp_path / "today.csv", index=False)
    result = metabo("suggest", prior_file, tmp_path / "today.csv", "--output", "y")
    assert result.exit_code == 2
    assert "has 2001 rows" in result.stderr
    assert "keep the best and the latest" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("num_tasks", [100, 200_000])
def test_compare(num_tasks: int, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    table(num_tasks, ROWS).to_csv(path, index=False)
    sizes = ("--smoke", "--repeats", 1, "--evaluations", 2, "--jobs", 1)
    code, said, memory = measured("compare", path, "--task", "task", "--output", "y", *sizes)
    assert code == 0, said
    assert f"of 1000000 runs of {num_tasks} tasks a random part is compared" in said
    assert re.search(r"\((3[0-9]|40) tasks, paired\)", said), said
    assert memory < MOST_GB


@pytest.mark.slow
def test_suggest(prior: Prior, tmp_path: Path) -> None:
    prior.save(tmp_path / "prior")
    table(1, ROWS).to_csv(tmp_path / "today.csv", index=False)
    code, said, memory = measured("suggest", tmp_path / "prior", tmp_path / "today.csv")
    assert code == 2, said
    assert "has 1000000 rows" in said
    assert "keep the best and the latest" in said
    assert memory < MOST_GB
