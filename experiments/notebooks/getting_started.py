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
# # Getting started with metabo
#
# `metabo` turns earlier experiments of the same kind into a prior, so that the next optimisation
# needs a handful of evaluations. Here the kind is known as a formula: a dose-response curve, $y =
# L / (1 + e^{-k (x - x_0)})$, whose three parameters differ from experiment to experiment.
# [your_own_runs](your_own_runs.py) starts from a table instead.
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
import pandas as pd
import torch
from matplotlib.figure import Figure

import metabo
from metabo.benchmark import plots
from metabo.benchmark.cases import logistic_case
from metabo.benchmark.report import summarise

# %% [markdown]
# ## Meta-train
#
# This draws 3,000 curves from the family, meta-trains a small network on them with Reptile, and
# fits a mixture of Gaussian priors over the network's last layer. It takes about half a minute on
# a laptop, and no GPU.

# %%
family = metabo.LogisticFamily(L=(1, 10), k=(1, 10), x0=(-1, 1), bounds=(-4, 4), noise_sd=0.05)
settings = metabo.MetaTrainSettings()
prior = metabo.meta_train(family, seed=0, settings=settings, progress=False)
prior.save("logistic.safetensors")
pd.Series(prior.provenance["chosen"], name="chosen on left-out training tasks").to_frame()

# %% [markdown]
# ## Look at the prior
#
# `logistic_case` draws curves that no training curve is equal to. On the left are draws from the
# prior: it knows the shape, but not the height, the steepness or the position. Each observation
# rules out most of what is left. The dashed line is BoTorch's `SingleTaskGP`, fitted to the same
# observations and nothing else; bands hold 90%.

# %%
case = logistic_case(8, 4, seed=0)
plots.posterior_figure(prior, case.episodes[0], counts=(0, 1, 2, 3))

# %% [markdown]
# ## Optimise
#
# Maximising this curve would be trivial, it only ever rises. Say we want the dose at which the
# response is 3: an objective tells the optimizer so, and candidates say which doses can be given.
# Nothing is fitted while it runs, so that `ask` takes a fraction of a second.

# %%
curve = next(t for t in family.tasks(20, 1, seed=1_000_000) if 4 < t.parameters["L"] < 8)
noise = torch.Generator().manual_seed(0)


def measure(x: dict[str, float]) -> float:
    """What a laboratory would do."""
    truth = curve.function(torch.tensor([list(x.values())], dtype=torch.float64))
    return truth.item() + family.noise_sd * torch.randn((), generator=noise).item()


doses = torch.linspace(-4, 4, 801, dtype=torch.float64)[:, None]  # in steps of 0.01
optimizer = metabo.Optimizer(
    prior, seed=0, candidates=doses, objective=lambda y, x: -(y - 3).abs().squeeze(-1)
)
measured = []
for _ in range(5):
    x = optimizer.ask()
    y = measure(x)
    optimizer.tell(x, y)
    measured.append({**x, "response": y})
measured = pd.DataFrame(measured, index=pd.RangeIndex(1, 6, name="evaluation"))
measured.round(3)

# %%
x = torch.linspace(-4, 4, 200, dtype=torch.float64)[:, None]
posterior = optimizer.model.posterior(x)
low, high = posterior.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64)).squeeze(-1)

figure = Figure(figsize=(10, 4), layout="constrained")
left, right = figure.subplots(1, 2)
for ax in (left, right):
    ax.plot(x[:, 0], curve.function(x)[:, 0], "k:", label="truth")
    ax.plot(x[:, 0], posterior.mean[:, 0], label="after five evaluations")
    ax.fill_between(x[:, 0], low, high, alpha=0.2, lw=0)
    ax.plot(measured.iloc[:, 0], measured["response"], "ko", ms=4, label="measured")
    ax.axhline(3, color="grey", lw=1)
    ax.set(xlabel="dose", ylabel="response")
for number, (dose, response) in measured.iterrows():
    right.annotate(number, (dose, response), (-3, 7), textcoords="offset points")
(first, low), (last, high) = measured.min(), measured.max()
right.set(xlim=(first - 0.1, last + 0.1), ylim=(low - 0.5, high + 0.5), title="the same, nearer")
left.legend()
figure

# %% [markdown]
# ## Compare
#
# Is this luck? Eight other curves: how well are they predicted from their first points, and how
# soon is the best dose found? Exact Bayes knows the formula and the ranges, so it is as good as
# anything can be on average.

# %%
errors = pd.DataFrame([row for cell in case.few_shot_cells(prior, seed=0) for row in cell()])
accuracy = summarise(errors, "squared_error")
plots.curves_figure(accuracy, log=True, label="mean squared error")

# %%
regrets = pd.DataFrame([row for cell in case.search_cells(prior, seeds=[0]) for row in cell()])
plots.curves_figure(summarise(regrets, "regret"), label="regret (share of the range)")

# %%
accuracy.pivot(index="method", columns="n", values="mean").round(3)

# %% [markdown]
# The table has the mean squared errors by number of observations. From here:
#
# - `metabo demo` runs such comparisons on four problems, with more curves.
# - `metabo.MixturePriorGP(train_X, train_Y, prior)` is the surrogate itself, a BoTorch `Model`.
# - `metabo.FunctionFamily(function, parameters, bounds)` takes a formula of your own.
