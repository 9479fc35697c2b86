"""The map from heads to parameters, from the training tasks of a family in closed form."""

from __future__ import annotations

import torch

from metabo.mixture import HeadStatistics, Mixture, ParameterMap, Remainder, fit_parameter_map
from metabo.network import MLP
from metabo.tasks.parametric import FunctionFamily
from metabo.tasks.task import TaskBatch, TaskFamily


def parameter_map(
    family: TaskFamily, network: MLP, mixture: Mixture, tasks: TaskBatch, *, seed: int
) -> ParameterMap | None:
    """The map of the finished mixture; None if the family has no known parameters.

    Args:
        family: Where the tasks come from.
        network: The features.
        mixture: The mixture over heads, all components of the family with one remainder.
        tasks: What `family.batch` gave with this seed, in model units.
        seed: Of the tasks.
    """
    if not isinstance(family, FunctionFamily) or not family.parameters:
        return None
    of_family = mixture.select(~mixture.is_broad)
    remainder = Remainder(
        of_family.outputscales[0],
        of_family.lengthscales[0],
        of_family.noises[0],
        slope=torch.ones_like(of_family.noises[0]),
    )
    features = network.features(tasks.X)
    statistics = HeadStatistics.of_tasks(
        features, tasks.X, tasks.Y, tasks.mask, remainder, of_family.amplitudes[0]
    )
    drawn = family.draw(len(tasks), seed)
    return fit_parameter_map(statistics, mixture, drawn, family.parameters)
