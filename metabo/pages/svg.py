"""A figure as SVG that stands in an HTML page."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK = "#3c4350"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters, not shapes: smaller, and the page's own font
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c9ced8",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceff4",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


def svg(figure: Figure, key: str) -> str:
    """The figure without the XML header, which a page has no use for.

    Args:
        figure: Made in `STYLE`.
        key: Different for each figure of a page: its parts have names.
    """
    content = io.StringIO()
    with mpl.rc_context(STYLE | {"svg.hashsalt": key}):  # ticks are made now
        figure.savefig(content, format="svg", metadata={"Date": None}, transparent=True)
    text = content.getvalue()
    return text[text.index("<svg") :]
