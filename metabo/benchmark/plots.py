"""Figures of priors and posteriors, and curves of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from metabo.atomic import replacing
from metabo.baselines.vanilla_gp import predict_vanilla
from metabo.benchmark.few_shot import Episode
from metabo.benchmark.problems import grid
from metabo.prior import Prior
from metabo.surrogates import MixturePosterior, MixturePriorGP
from metabo.tasks import Task

# One colour for one method in all figures, of a palette that colour-blind readers can tell apart.
COLOURS = {
    "metabo": "#0072b2",
    "vanilla GP": "#d55e00",
    "exact Bayes": "#009e73",
    "random": "#999999",
}
_OTHERS = (
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#882255",
    "#117733",
    "#332288",
    "#e0559a",
    "#999933",
    "#7f5539",
    "#2a9d8f",
    "#6d597a",
)
_BAND = torch.tensor([0.05, 0.95], dtype=torch.float64)


def colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method: its own, or the next of the others."""
    others = [method for method in methods if method not in COLOURS]
    return COLOURS | {method: _OTHERS[i % len(_OTHERS)] for i, method in enumerate(others)}


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the path's ending decides the format."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def posterior_figure(
    prior: Prior,
    episode: Episode,
    *,
    counts: Sequence[int] = (0, 1, 3, 5),
    labels: tuple[str, str] = ("x", "y"),
) -> Figure:
    """The prior, and what it becomes after a few observations, beside the vanilla GP.

    Args:
        prior: Of one numeric input.
        episode: Its task's function, if known, is drawn too; else the points it is scored on.
        counts: A panel for each number of observations; 0 shows draws from the prior.
        labels: Of the axes.
    """
    figure = Figure(figsize=(3.2 * len(counts), 3.0), layout="constrained")
    axes = figure.subplots(1, len(counts), sharex=True, sharey=True, squeeze=False)[0]
    task = episode.support
    X = grid(task.space, 200)
    for ax, n in zip(axes, counts, strict=True):
        seen = task.subset(slice(n))
        if n > 0:
            _draw_vanilla(ax, X, seen)
            _draw_truth(ax, X, episode)
        _draw_ours(ax, X, seen, prior)
        ax.plot(seen.X[:, 0], seen.Y[:, 0], "ko", ms=4)
        ax.set_title("prior" if n == 0 else f"after {n} observation{'s' if n > 1 else ''}")
        ax.set_xlabel(labels[0])
        if task.space.log_dims:
            ax.set_xscale("log")
    axes[0].set_ylabel(labels[1])
    axes[-1].legend(fontsize="small")
    return figure


def _draw_truth(ax: Axes, X: Tensor, episode: Episode) -> None:
    function = episode.support.function
    if function is not None:
        ax.plot(X[:, 0], function(X)[:, 0], color="black", lw=1, ls=":", label="truth")
    else:
        ax.plot(episode.X[:, 0], episode.Y, "kx", ms=4, alpha=0.6, label="left out")


def _draw_ours(ax: Axes, X: Tensor, seen: Task, prior: Prior) -> None:
    posterior = MixturePriorGP(seen.X, seen.Y, prior).posterior(X)
    assert isinstance(posterior, MixturePosterior)
    low, high = posterior.quantile(_BAND).squeeze(-1)
    colour = COLOURS["metabo"]
    ax.fill_between(X[:, 0], low, high, color=colour, alpha=0.2, lw=0)
    ax.plot(X[:, 0], posterior.mean[:, 0], color=colour, label="metabo")
    if len(seen) == 0:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            draws = posterior.rsample(torch.Size([12])).squeeze(-1)
        ax.plot(X[:, 0], draws.T, color=colour, lw=0.6, alpha=0.6)


def _draw_vanilla(ax: Axes, X: Tensor, seen: Task) -> None:
    normal = predict_vanilla(seen.X, seen.Y, X, seen.space)
    low, high = normal.icdf(_BAND.unsqueeze(-1))
    colour = COLOURS["vanilla GP"]
    ax.fill_between(X[:, 0], low, high, color=colour, alpha=0.1, lw=0)
    ax.plot(X[:, 0], normal.mean, color=colour, lw=1, ls="--", label="vanilla GP")


def curves_figure(summary: pd.DataFrame, *, log: bool = False, label: str) -> Figure:
    """One panel for each problem: means by n with their intervals, one curve for each method.

    Args:
        summary: From `report.summarise`.
        log: Whether the vertical axis is logarithmic.
        label: Of the vertical axis.
    """
    problems, colour_of = summary["problem"].unique(), colours(list(summary["method"].unique()))
    figure = Figure(figsize=(3.4 * len(problems), 3.2), layout="constrained")
    axes = figure.subplots(1, len(problems), squeeze=False)[0]
    for ax, problem in zip(axes, problems, strict=True):
        for method, rows in summary[summary["problem"] == problem].groupby("method", sort=False):
            colour = colour_of[method]
            ax.fill_between(rows["n"], rows["low"], rows["high"], color=colour, alpha=0.15, lw=0)
            ax.plot(rows["n"], rows["mean"], color=colour, marker=".", label=method)
        ax.set_title(problem)
        ax.set_xlabel("n observations")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log:
            ax.set_yscale("log")
    axes[0].set_ylabel(label)
    axes[0].legend(fontsize="small")
    return figure
