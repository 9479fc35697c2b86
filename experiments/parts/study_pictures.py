"""Figures of `task_similarity.py` and `inner_steps.py`."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from metabo.benchmark.report import summarise
from parts.reptile_pictures import COLOURS


def similarity(frame: pd.DataFrame, n: int) -> Figure:
    """Error against the deviation of the functions, a line a method."""
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    ax = figure.subplots()
    own = frame[frame["n"] == n]
    spread = own.groupby("problem", sort=False)["deviation_of_functions"].mean()
    for method, line in summarise(own, "squared_error").groupby("method", sort=False):
        x, colour = spread[line["problem"]], COLOURS[str(method)]
        ax.fill_between(x, line["low"], line["high"], color=colour, alpha=0.15, lw=0)
        ax.plot(x, line["mean"], "o-", ms=4, color=colour, label=method)
    ax.set(xscale="log", yscale="log", xlabel="deviation of the curves from their mean (y)")
    ax.set_ylabel(f"mean squared error, {n} support points")
    ax.legend()
    return figure


def steps(frame: pd.DataFrame, measured: pd.DataFrame) -> Figure:
    """Errors against the steps at the test, and what an outer step costs."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for i, (number, own) in enumerate(frame.groupby("inner_steps")):
        means = own.groupby("evaluation_iterations")["squared_error"].mean()
        left.loglog(means.index, means, "o-", ms=3, color=f"C{i}", label=f"{number}")
    left.set(xlabel="steps of SGD on a test curve", ylabel="mean squared error, 5 support points")
    left.legend(title="inner steps in meta-training", fontsize="small")
    for name, own in measured.groupby("method", sort=False):
        for ax, value, unit in ((middle, "seconds", 1e3), (right, "peak_mib", 1.0)):
            ax.plot(own["inner_steps"], unit * own[value], "o-", ms=4, color=COLOURS[str(name)],
                    label=name)  # fmt: skip
    middle.set(xlabel="inner steps", ylabel="milliseconds of an outer step", yscale="log")
    right.set(xlabel="inner steps", ylabel="peak memory of an outer step (MiB)")
    right.legend(fontsize="small")
    return figure
