"""The experiment runs, and leaves the rows and their origin."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "experiments" / "shape_parameters.py"


def test_least_squares_finds_the_parameters_where_points_allow_it() -> None:
    script = runpy.run_path(str(SCRIPT))
    X = torch.linspace(-4, 4, 40, dtype=torch.float64).unsqueeze(-1)
    Y = 6 * torch.sigmoid(2 * (X - 0.5))
    for inside in (False, True):
        value, low, high = script["least_squares"](X, Y, inside=inside)
        np.testing.assert_allclose(value, [6, 2, 0.5], rtol=1e-4)
        assert (low < value).all()
        assert (value < high).all()
    assert script["least_squares"](X[:2], Y[:2], inside=False) is None


@pytest.mark.slow
def test_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(SCRIPT))
    script["main"](smoke=True, seed=2, out=tmp_path)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert len(rows) == 3 * 4 * 4 * 3  # tasks, numbers of points, methods, parameters
    assert set(rows["method"]) == {"metabo", "curve_fit", "curve_fit in range", "exact Bayes"}
    assert not rows[rows["method"].isin(["metabo", "exact Bayes"])]["failed"].any()
    assert json.loads((tmp_path / "meta.json").read_text())["settings"]["seed"] == 2
    assert "covered" in capsys.readouterr().out
