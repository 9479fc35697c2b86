"""Few-shot Bayesian optimisation with a meta-learned prior."""

from metabo.constraint import Constraint
from metabo.journal import JournalError
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.optimizer import Optimizer, PriorCollapsedWarning
from metabo.prior import Prior, PriorFileError
from metabo.space import InputSpace, SpaceError
from metabo.surrogates import (
    LogIncumbentImprovement,
    MixturePosterior,
    MixturePriorGP,
    ReptileKernelGP,
    ReptileMeanGP,
)
from metabo.tasks.parametric import FunctionFamily, LogisticFamily, NormalFamily
from metabo.tasks.tables import TableFamily
from metabo.tasks.task import Task

__version__ = "0.1.0"

__all__ = [
    "Constraint",
    "FunctionFamily",
    "InputSpace",
    "JournalError",
    "LogIncumbentImprovement",
    "LogisticFamily",
    "MetaTrainSettings",
    "MixturePosterior",
    "MixturePriorGP",
    "NormalFamily",
    "Optimizer",
    "Prior",
    "PriorCollapsedWarning",
    "PriorFileError",
    "ReptileKernelGP",
    "ReptileMeanGP",
    "SpaceError",
    "TableFamily",
    "Task",
    "meta_train",
]
