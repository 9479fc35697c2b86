"""The map from heads to parameters, from the training tasks of a family in closed form."""

from __future__ import annotations

from metabo.meta_training.way import Fit
from metabo.mixture import HeadStatistics, ParameterMap, fit_parameter_map
from metabo.tasks.parametric import FunctionFamily
from metabo.tasks.task import TaskBatch, TaskFamily


def parameter_map(
    family: TaskFamily, fit: Fit, tasks: TaskBatch, *, seed: int
) -> ParameterMap | None:
    """The map of the finished mixture; None if the family has no known parameters.

    Args:
        family: Where the tasks come from.
        fit: The features and the mixture over heads.
        tasks: What `family.batch` gave with this seed, in model units.
        seed: Of the tasks.
    """
    if not isinstance(family, FunctionFamily) or not family.parameters:
        return None
    features = fit.network.features(tasks.X)
    statistics = HeadStatistics.of_tasks(
        features, tasks.X, tasks.Y, tasks.mask, fit.remainder, fit.trend
    )
    drawn = family.draw(len(tasks), seed)
    return fit_parameter_map(statistics, fit.mixture, drawn, family.parameters)
