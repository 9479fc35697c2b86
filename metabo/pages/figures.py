"""Figures as SVG that stands in an HTML page; what the user's files say is never read as markup."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from metabo.pages.course import Step
from metabo.pages.slices import Slice
from metabo.pages.svg import INK, STYLE, svg

BLUE, ORANGE, GREEN, FAINT = "#2563a8", "#d9730d", "#2f8f5b", "#9aa3b2"
_LONGEST = 22  # characters of a name

Limits = tuple[float, float]


def span(shown: Sequence[Slice], Y: Tensor | None = None) -> Limits:
    """One vertical axis for all: what bands and measured values take, and a little more."""
    ends = torch.cat(
        [torch.cat([s.low, s.high]) for s in shown] + ([] if Y is None else [Y.flatten()])
    )
    low, high = float(ends.min()), float(ends.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def prior_panel(before: Slice, output: str, limits: Limits, key: str) -> str:
    """What the Prior holds likely along one input: a 90% band, and draws."""
    figure, ax = _figure(key)
    if before.choices is None:
        _band(ax, before, BLUE, 0.13)
        ax.plot(before.values, before.draws.T, color=BLUE, lw=0.7, alpha=0.55)
        ax.plot(before.values, before.mean, color=BLUE)
    else:
        for draw in before.draws:
            ax.plot(before.values, draw, ".", color=BLUE, ms=4, alpha=0.4)
        _bars(ax, before, BLUE, 0.0)
    return _finish(figure, ax, before, output, limits)


def posterior_panel(
    before: Slice,
    now: Slice,
    at: float,
    X: Tensor,
    Y: Tensor,
    output: str,
    limits: Limits,
    key: str,
) -> str:
    """What is known now along one input, beside what the Prior held.

    Args:
        before: The Prior's slice.
        now: The posterior's.
        at: Where the slices of the other inputs are.
        X: `n`, the input of what was measured ...
        Y: `n`, ... and the values; at other values of the other inputs.
        output: Its name.
        limits: Of the vertical axis.
        key: Different for each figure of a page.
    """
    figure, ax = _figure(key)
    if before.choices is None:
        _band(ax, before, FAINT, 0.16)
        _band(ax, now, BLUE, 0.22)
        ax.plot(now.values, now.mean, color=BLUE)
        ax.axvline(at, color=GREEN, lw=1, ls=(0, (4, 3)))
    else:
        _bars(ax, before, FAINT, -0.12)
        _bars(ax, now, BLUE, 0.12)
    ax.plot(X, Y, "o", color=INK, ms=4.5, alpha=0.85, mec="white", mew=0.6)
    return _finish(figure, ax, before, output, limits)


def course_panels(steps: Sequence[Step], Y: Tensor, output: str) -> list[str]:
    """The measured values and the best so far, the regret that is expected, and the Prior's share.

    Args:
        steps: From `course`.
        Y: `n`, what was measured.
        output: Its name.
    """
    figure, ax = _figure("best")
    ax.plot(range(1, len(Y) + 1), Y, "o", color=INK, ms=4, alpha=0.75)
    told = [step for step in steps if math.isfinite(step.best)]
    ax.step([s.n for s in told], [s.best for s in told], where="post", color=GREEN)
    ax.set_ylabel(_short(output), parse_math=False)
    panels = [_count(figure, ax)]
    regrets = [step for step in steps if math.isfinite(step.regret)]
    if regrets:
        figure, ax = _figure("regret")
        ax.plot([s.n for s in regrets], [s.regret for s in regrets], color=ORANGE, marker=".")
        ax.set_ylim(bottom=0)
        ax.set_ylabel("still to be gained")
        panels.append(_count(figure, ax))
    figure, ax = _figure("weight")
    ax.plot([s.n for s in steps], [s.prior_weight for s in steps], color=BLUE, marker=".")
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set_ylabel("rests on the earlier runs")
    return [*panels, _count(figure, ax)]


def _figure(key: str) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.5, 2.5), layout="constrained")
        ax = figure.subplots()
    figure.set_gid(key)
    return figure, ax


def _band(ax: Axes, s: Slice, colour: str, alpha: float) -> None:
    ax.fill_between(s.values, s.low, s.high, color=colour, alpha=alpha, lw=0)


def _bars(ax: Axes, s: Slice, colour: str, shift: float) -> None:
    errors = [s.mean - s.low, s.high - s.mean]
    ax.errorbar(
        s.values + shift, s.mean, errors, fmt="o", color=colour, ms=5, lw=0, elinewidth=2, capsize=3
    )


def _finish(figure: Figure, ax: Axes, s: Slice, output: str, limits: Limits) -> str:
    ax.set_ylim(limits)
    ax.set_xlabel(_short(s.name), parse_math=False)
    ax.set_ylabel(_short(output), parse_math=False)
    if s.is_log:
        ax.set_xscale("log")
    if s.choices is not None:
        labels = [_short(choice) for choice in s.choices]
        ax.set_xticks(s.values.tolist(), labels, parse_math=False)
        ax.set_xlim(-0.5, len(labels) - 0.5)
        if sum(map(len, labels)) > 30:
            ax.tick_params("x", rotation=30)
    return svg(figure, str(figure.get_gid()))


def _count(figure: Figure, ax: Axes) -> str:
    ax.set_xlabel("observations")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return svg(figure, str(figure.get_gid()))


def _short(name: object) -> str:
    """Of a control character an SVG would not be well-formed."""
    text = "".join(c if c.isprintable() else " " for c in str(name))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
