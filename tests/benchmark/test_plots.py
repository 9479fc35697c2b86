"""Figures show the numbers that they should."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import torch

from metabo.benchmark.few_shot import grid_episode
from metabo.benchmark.plots import curves_figure, posterior_figure, save
from metabo.benchmark.report import summarise
from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP
from metabo.tasks import LogisticFamily

TASK = LogisticFamily().tasks(1, 5, seed=2)[0]


def test_posterior_figure(prior: Prior, tmp_path: Path) -> None:
    figure = posterior_figure(prior, grid_episode(TASK, noise_sd=0.05), counts=(0, 3))
    assert [ax.get_title() for ax in figure.axes] == ["prior", "after 3 observations"]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert {"metabo", "vanilla GP", "truth"} <= lines.keys()
    X = torch.as_tensor(lines["metabo"].get_xdata()).unsqueeze(-1)
    expected = MixturePriorGP(TASK.X[:3], TASK.Y[:3], prior).posterior(X).mean
    np.testing.assert_allclose(lines["metabo"].get_ydata(), expected[:, 0])
    save(figure, tmp_path / "figure.png")
    assert matplotlib.image.imread(tmp_path / "figure.png").shape[2] == 4


def test_curves_figure_draws_the_means() -> None:
    rows = pd.DataFrame(
        [
            {"problem": p, "method": m, "n": n, "task": t, "regret": (i + 1) / n + t}
            for p in ("one", "two")
            for i, m in enumerate(("random", "metabo"))
            for n in (1, 2)
            for t in (0.0, 0.5)
        ]
    )
    figure = curves_figure(summarise(rows, "regret"), label="regret")
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[1].get_lines()}
    assert lines == {"random": [1.25, 0.75], "metabo": [2.25, 1.25]}
