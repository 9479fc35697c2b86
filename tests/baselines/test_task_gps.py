"""The models of earlier tasks against their data."""

from __future__ import annotations

import torch

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.task_gps import TaskGPs

GRID = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(-1)


def test_each_predicts_its_own_task_from_a_part(runs: EarlierRuns) -> None:
    gps = TaskGPs(runs, max_points=15)
    means, sds = gps.predict(GRID)
    assert all(len(model.train_targets) == 15 for model in gps.models)
    for mean, task in zip(means, runs.tasks, strict=True):
        truth = (task.Y[:, 0] - task.Y.mean()) / task.Y.std(correction=0)
        assert (mean - truth).abs().median() < 0.05
    assert sds.min() > 0


def test_predictions_are_those_of_each_model(gps: TaskGPs) -> None:
    few = GRID[::7]
    means, sds = gps.predict(few)
    with torch.no_grad():
        for mean, sd, model in zip(means, sds, gps.models, strict=True):
            posterior = model.posterior(few)
            torch.testing.assert_close(mean, posterior.mean[:, 0])
            torch.testing.assert_close(sd.square(), posterior.variance[:, 0], rtol=0, atol=1e-6)
