"""The command line as its users see it: what goes in, what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from metabo.cli import app
from metabo.prior import Prior

Run = Callable[..., Result]


@pytest.fixture
def metabo() -> Run:
    """Run a command: `metabo("info", path)`; whatever it raises is a bug."""

    def run(*arguments: object, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result

    return run


@pytest.fixture
def prior_file(prior: Prior, tmp_path: Path) -> Path:
    """Inputs x1 from -4 to 4 and x2 from 0 to 1."""
    path = tmp_path / "prior.safetensors"
    prior.save(path)
    return path


@pytest.fixture(scope="session")
def runs() -> pd.DataFrame:
    """Three tasks of six runs: a bowl whose bottom moves a little."""
    generator = np.random.default_rng(0)
    dose = generator.uniform(0, 10, 18)
    batch = np.repeat(["b1", "b2", "b3"], 6)
    bottom = np.repeat([4.0, 5.0, 6.0], 6)
    return pd.DataFrame({"batch": batch, "dose": dose, "damage": (dose - bottom) ** 2})


@pytest.fixture
def runs_file(runs: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    runs.to_csv(path, index=False)
    return path
