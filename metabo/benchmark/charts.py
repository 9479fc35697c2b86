"""Figures of the report, as SVG to be put into a page."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from metabo.benchmark.plots import COLOURS, colours
from metabo.benchmark.ranking import Ranking
from metabo.benchmark.scores import COUNTS, OURS, REFERENCE, ranks, regrets, summary
from metabo.pages.svg import INK, STYLE, svg

_BANDS = (OURS, REFERENCE)  # whose intervals are drawn: more would hide one another
_STRONG = {OURS: 2.8, REFERENCE: 2.0, "exact Bayes": 1.6}
_STYLE = STYLE | {"text.parse_math": False}  # a name may have a dollar sign
_FLOOR = 1e-6  # regrets below this are drawn there


def curves_chart(found: pd.DataFrame, key: str) -> str:
    """Mean regret (logarithmic) and mean rank of all methods by the number of evaluations.

    Args:
        found: From `scores.curves`, of one problem.
        key: Different for each figure of a page.
    """
    methods = list(found.index.get_level_values("method").unique())
    counts = [int(n) for n in found.columns]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 4.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        tables = {n: summary(regrets(found, n)).clip(lower=_FLOOR) for n in counts}
        _draw(left, methods, counts, tables, bands=True)
        _draw(right, methods, counts, {n: summary(ranks(found, n)) for n in counts}, bands=False)
        left.set(yscale="log", ylabel="mean regret, share of the range")
        left.yaxis.set_major_formatter("{x:g}")
        left.yaxis.set_minor_formatter(NullFormatter())
        right.set(ylabel="mean rank, 1 is the best")
        right.invert_yaxis()
        handles, labels = left.get_legend_handles_labels()
        columns = min(len(labels), 5)
        figure.legend(
            handles[::-1], labels[::-1], loc="outside lower center", ncols=columns, frameon=False
        )
        return svg(figure, key)


def _draw(
    ax: Axes,
    methods: Sequence[str],
    counts: Sequence[int],
    tables: dict[int, pd.DataFrame],
    *,
    bands: bool,
) -> None:
    colour_of = colours(methods)
    for method in reversed(methods):  # ours comes first in rows, and last on paper
        values = pd.DataFrame([tables[n].loc[method] for n in counts])
        colour, width = colour_of[method], _STRONG.get(method, 1.2)
        # Colours come again; so that lines can still be told apart, every other one is dashed.
        line = "-" if method in COLOURS or methods.index(method) % 2 else (0, (4, 1.5))
        ax.plot(counts, values["mean"], color=colour, lw=width, ls=line, label=method)
        if bands and method in _BANDS:
            ax.fill_between(counts, values["low"], values["high"], color=colour, alpha=0.13, lw=0)
    ax.set(xscale="log", xlabel="evaluations", xlim=(1, max(counts)))
    ax.xaxis.set_major_locator(FixedLocator([n for n in COUNTS if n <= max(counts)]))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()


def ranking_chart(ranking: Ranking, key: str) -> str:
    """The critical-difference diagram: bars join methods whose difference is not clear."""
    import scikit_posthocs

    with mpl.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(9.6, 1.3 + 0.19 * len(ranking.ranks)), layout="constrained")
        ax = figure.subplots()
        colour_of = colours(list(ranking.ranks.index))
        scikit_posthocs.critical_difference_diagram(
            ranking.ranks,
            ranking.p,
            ax=ax,
            label_fmt_left="{label}  ({rank:.2f})",
            label_fmt_right="({rank:.2f})  {label}",
            color_palette={method: colour_of[method] for method in ranking.ranks.index},
            crossbar_props={"color": INK, "marker": "", "linewidth": 3},
            text_h_margin=0.02,
        )
        return svg(figure, key)
