"""The figure of `reptile_speed.py`."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from parts.inner_loop_alternatives import IMPLEMENTATIONS


def draw(rows: pd.DataFrame) -> Figure:
    """Speed against T, a line an implementation, a panel a width and place."""
    panels = list(rows.groupby(["device", "threads", "width"]))
    figure = Figure(figsize=(4.2 * len(panels), 4.2), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    lines = {}
    for axes, ((device, threads, width), panel) in zip(all_axes, panels, strict=True):
        for i, name in enumerate(IMPLEMENTATIONS):
            own = panel[panel["implementation"] == name]
            if not own.empty:
                medians = own.groupby("num_tasks")["steps_per_second"].median()
                ours = name in ("compiled", "fused_kernel")
                style = {"lw": 2.5, "color": "black"} if ours else {"color": f"C{i}"}
                lines[name] = axes.loglog(medians.index, medians, "o-", ms=4, **style)[0]
        threads = "one thread" if threads == 1 else f"{threads} threads"
        axes.set(title=f"{device}, {threads}, width {width}", xlabel="tasks at once, T")
        axes.grid(alpha=0.3)
    all_axes[0].set_ylabel("tasks x inner steps a second")
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4)
    return figure
