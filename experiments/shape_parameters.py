"""Are a curve's parameters known from a few points? The mixture, least squares, exact Bayes.

Logistic curves. Least squares is `scipy.optimize.curve_fit`, told the noise; free, or kept in
range. Its interval is 1.645 standard errors; a fit without estimate or finite interval failed.

    python experiments/shape_parameters.py [--smoke] [--seed 0] [--out DIR]
"""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import typer
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import expit

from metabo import LogisticFamily, MetaTrainSettings, MixturePriorGP, Prior, Task, meta_train
from metabo.baselines.exact_bayes import ExactBayes
from metabo.benchmark.demo import DemoSettings
from metabo.benchmark.record import write_meta, write_rows

OUT = Path(__file__).parent / "results" / "shape_parameters"
FAMILY = LogisticFamily()
LOW, HIGH = np.array(list(FAMILY.parameters.values())).T
START = (LOW + HIGH) / 2
LEVELS = torch.tensor([[0.05, 0.95]], dtype=torch.float64).repeat(3, 1)
TEST_SEED = 10_000  # of the curves that no prior was trained on
Estimate = tuple[np.ndarray, np.ndarray, np.ndarray]  # value and 90% interval of each parameter


@dataclass(frozen=True)
class Settings:
    """What is run."""

    tasks: int = 100
    counts: tuple[int, ...] = (2, 3, 5, 8)
    draws: int = 100_000  # of exact Bayes
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)


SMOKE = Settings(tasks=3, draws=20_000, meta_train=DemoSettings.smoke().meta_train)


def mixture(prior: Prior, X: torch.Tensor, Y: torch.Tensor) -> Estimate:
    """The closed-form posterior."""
    table = MixturePriorGP(X, Y, prior).parameter_posterior().summary()
    return table["mean"].to_numpy(), table["5%"].to_numpy(), table["95%"].to_numpy()


def least_squares(X: torch.Tensor, Y: torch.Tensor, *, inside: bool) -> Estimate | None:
    """None if it failed; an interval that is not finite if there is only an estimate."""
    ends = (LOW, HIGH) if inside else (-np.inf, np.inf)
    known = {"sigma": np.full(len(X), FAMILY.noise_sd), "absolute_sigma": True}
    x, y = X[:, 0].numpy(), Y[:, 0].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # of a covariance without an estimate
        try:
            value, covariance = curve_fit(
                lambda x, L, k, x0: L * expit(k * (x - x0)), x, y, START, bounds=ends, **known
            )
        except (RuntimeError, TypeError):  # no convergence; fewer points than parameters
            return None
    half = 1.645 * np.sqrt(np.diag(covariance)) if np.isfinite(covariance).all() else np.nan
    return value, np.clip(value - half, *ends), np.clip(value + half, *ends)


def exact(bayes: ExactBayes, X: torch.Tensor, Y: torch.Tensor) -> Estimate:
    """The mean and quantiles of weighted draws."""
    posterior = bayes.posterior(X, Y).likely()
    weights, draws = posterior.log_weights.exp(), torch.stack([*posterior.parameters.values()])
    ordered, order = draws.sort(-1)
    ranks = torch.searchsorted(weights[order].cumsum(-1), LEVELS).clamp_max(len(weights) - 1)
    low, high = ordered.gather(1, ranks).T.numpy()
    return (draws @ weights).numpy(), low, high


def rows_of(task: Task, n: int, method: str, found: Estimate | None) -> list[dict[str, Any]]:
    """One row for each parameter."""
    assert task.parameters is not None
    value, low, high = found or [np.full(3, np.nan)] * 3
    failed, truth = not np.isfinite([value, low, high]).all(), np.array([*task.parameters.values()])
    errors, widths = np.abs(value - truth) / (HIGH - LOW), (high - low) / (HIGH - LOW)
    covered = (low <= truth) & (truth <= high)
    fixed = {"problem": "logistic", "task": task.name, "method": method, "n": n, "failed": failed}
    return [
        fixed | {"parameter": p, "error": e, "width": w, "covered": np.nan if failed else float(c)}
        for p, e, w, c in zip(task.parameters, errors, widths, covered, strict=True)
    ]


def main(smoke: bool = False, seed: int = 0, out: Path = OUT) -> None:
    """Run the experiment and write rows.csv and meta.json."""
    started, settings = time.perf_counter(), SMOKE if smoke else Settings()
    prior = meta_train(FAMILY, seed=seed, settings=settings.meta_train, device="cpu")
    bayes = ExactBayes(FAMILY, num_draws=settings.draws, seed=seed)
    rows = []
    for task in FAMILY.tasks(settings.tasks, max(settings.counts), seed=TEST_SEED + seed):
        for n in settings.counts:
            X, Y = task.X[:n], task.Y[:n]
            rows += rows_of(task, n, "metabo", mixture(prior, X, Y))
            rows += rows_of(task, n, "curve_fit", least_squares(X, Y, inside=False))
            rows += rows_of(task, n, "curve_fit in range", least_squares(X, Y, inside=True))
            rows += rows_of(task, n, "exact Bayes", exact(bayes, X, Y))
    frame = pd.DataFrame(rows).assign(seed=seed)
    write_rows(frame, out)
    seconds = time.perf_counter() - started
    write_meta(out / "meta.json", settings=asdict(settings) | {"seed": seed}, seconds=seconds)
    scores = frame.groupby(["n", "parameter", "method"])[["error", "covered", "failed"]]
    print(scores.mean().unstack().round(3).to_string())


if __name__ == "__main__":
    typer.run(main)
