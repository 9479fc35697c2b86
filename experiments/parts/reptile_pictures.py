"""Pictures of `reptile_experiment.py`, as figures and for TensorBoard."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metabo.benchmark.report import summarise
from metabo.prior import Prior
from parts.cross_validation import Predict, by_gradient, by_mixture
from parts.reptile_settings import Settings
from parts.starting_points import Curves, Start

# Okabe and Ito's palette, which colour-blind readers can tell apart; metabo as in other figures.
COLOURS = {
    "Reptile": "#d55e00",
    "first-order MAML": "#e69f00",
    "MAML": "#cc79a7",
    "joint pre-training": "#009e73",
    "random initialisation": "#999999",
    "metabo": "#0072b2",
}
_SHOWN = ("Reptile", "joint pre-training", "random initialisation")
_SUPPORT = 5
_CURVES = 3
_BLOCKS = 100  # points of a training curve that are drawn or logged


def draw(
    starts: Sequence[Start],
    prior: Prior,
    test: Curves,
    losses: Mapping[str, pd.DataFrame],
    errors: pd.DataFrame,
    settings: Settings,
) -> dict[str, Figure]:
    """All pictures by name."""
    return {
        "training_loss": training_loss(losses),
        "adaptation": adaptation(starts, prior, test, settings),
        "error": cross_validated(errors),
    }


def training_loss(losses: Mapping[str, pd.DataFrame]) -> Figure:
    """The loss before and after the inner loop against the outer iteration, in blocks."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, curve in losses.items():
        means = blocks(curve)
        left.plot(means["outer_step"], means["loss_before"], color=COLOURS[name], label=name)
        if name != "joint pre-training":  # it does not adapt
            right.plot(means["outer_step"], means["loss_after"], color=COLOURS[name])
    left.set(title="before adapting", yscale="log", xscale="log", xlabel="outer iteration")
    left.set_ylabel("training loss (model units)")
    right.set(title="after the inner loop", xscale="log", xlabel="outer iteration")
    left.legend(fontsize="small")
    return figure


def blocks(curve: pd.DataFrame) -> pd.DataFrame:
    """Means of at most 100 blocks of a training curve."""
    size = -(-len(curve) // _BLOCKS)
    return curve.groupby(curve.index // size).mean()


def adaptation(starts: Sequence[Start], prior: Prior, test: Curves, settings: Settings) -> Figure:
    """Test curves, and what 0, 1, 2, 4, ... steps on five points make of a start; and metabo."""
    networks = {start.name: start.network for start in starts}
    steps = [0, *(2**i for i in range(settings.evaluation_iterations.bit_length()))]
    size = settings.inner_step_size
    count = min(_CURVES, len(test.truth))
    figure = Figure(figsize=(13, 2.7 * count), layout="constrained")
    panels = figure.subplots(count, len(_SHOWN) + 1, sharex=True, sharey="row", squeeze=False)
    for curve, row in enumerate(panels):
        seen = torch.randperm(settings.sample_count, generator=_generator(curve))[:_SUPPORT]
        for name, ax in zip(_SHOWN, row, strict=False):
            for i, number in enumerate(steps):
                predict = by_gradient(networks[name], number, size)
                colour = colormaps["viridis_r"](0.1 + 0.9 * i / (len(steps) - 1))
                _line(
                    ax,
                    test,
                    curve,
                    seen,
                    predict,
                    color=colour,
                    label=f"{number} step{'s' * (number != 1)}",
                )
            _frame(ax, test, curve, seen, name)
        _line(row[-1], test, curve, seen, by_mixture(prior, test), color=COLOURS["metabo"])
        _frame(row[-1], test, curve, seen, "metabo (closed form)")
        row[0].set_ylabel("y")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _line(
    ax: Axes,
    test: Curves,
    curve: int,
    seen: torch.Tensor,
    predict: Predict,
    **style: Any,
) -> None:
    X, Y = test.batch.X[curve], test.batch.Y[curve]
    found = predict(X[None, seen], Y[None, seen], X[None])[0]
    ax.plot(test.users_x(X)[:, 0], test.offset + test.scale * found, lw=1.2, **style)


def _frame(ax: Axes, test: Curves, curve: int, seen: torch.Tensor, title: str) -> None:
    x = test.users_x(test.batch.X[curve])[:, 0]
    ax.plot(x, test.offset + test.scale * test.truth[curve], "k:", lw=1.5, label="truth")
    observed = test.offset + test.scale * test.batch.Y[curve, seen]
    ax.plot(x[seen], observed, "ko", ms=4, label="support")
    if curve == 0:
        ax.set_title(title)
    ax.set_xlabel("x")
    ax.label_outer()


def cross_validated(errors: pd.DataFrame) -> Figure:
    """The mean squared error against the number of support points, with its 95% interval."""
    figure = Figure(figsize=(5.5, 4.2), layout="constrained")
    ax = figure.subplots()
    for method, own in summarise(errors, "squared_error").groupby("method", sort=False):
        colour = COLOURS[str(method)]
        ax.fill_between(own["n"], own["low"], own["high"], color=colour, alpha=0.1, lw=0)
        ax.plot(own["n"], own["mean"], "o-", ms=3, color=colour, label=method)
    ax.set(yscale="log", xlabel="support points", ylabel="mean squared error, other points")
    ax.set_xticks(sorted(errors["n"].unique()))
    ax.legend(fontsize="small")
    return figure


def log(
    folder: Path,
    losses: Mapping[str, pd.DataFrame],
    errors: pd.DataFrame,
    figures: Mapping[str, Figure],
) -> None:
    """Scalars and pictures for TensorBoard, if it is installed; says so if it is not."""
    if importlib.util.find_spec("tensorboard") is None:
        print("TensorBoard is not installed (pip install 'metabo[tensorboard]'): nothing logged.")
        return
    from torch.utils.tensorboard import SummaryWriter

    means = errors.groupby(["method", "n"], sort=False)["squared_error"].mean()
    for method in errors["method"].unique():
        with SummaryWriter(str(folder / method.replace(" ", "_"))) as writer:
            for n, error in means[method].items():
                writer.add_scalar("cross-validated squared error, by support points", error, n)
            for row in blocks(losses[method]).itertuples() if method in losses else ():
                for name in ("loss_before", "loss_after"):
                    writer.add_scalar(name, getattr(row, name), int(row.outer_step))
    with SummaryWriter(str(folder / "pictures")) as writer:
        for name, figure in figures.items():
            writer.add_figure(name, figure)
