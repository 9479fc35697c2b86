"""Few-shot Bayesian optimisation with a meta-learned prior."""

from typing import TYPE_CHECKING

from metabo.lazy import lazy_names

if TYPE_CHECKING:
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

if not TYPE_CHECKING:  # who would take any name to be there
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Constraint": "metabo.constraint",
            "FunctionFamily": "metabo.tasks.parametric",
            "InputSpace": "metabo.space",
            "JournalError": "metabo.journal",
            "LogIncumbentImprovement": "metabo.surrogates.incumbent_improvement",
            "LogisticFamily": "metabo.tasks.parametric",
            "MetaTrainSettings": "metabo.meta_training.meta_train",
            "MixturePosterior": "metabo.surrogates.mixture_posterior",
            "MixturePriorGP": "metabo.surrogates.mixture_prior_gp",
            "NormalFamily": "metabo.tasks.parametric",
            "Optimizer": "metabo.optimizer",
            "Prior": "metabo.prior",
            "PriorCollapsedWarning": "metabo.optimizer",
            "PriorFileError": "metabo.prior_file",
            "ReptileKernelGP": "metabo.surrogates.kernel_gp",
            "ReptileMeanGP": "metabo.surrogates.mean_gp",
            "SpaceError": "metabo.column",
            "TableFamily": "metabo.tasks.tables",
            "Task": "metabo.tasks.task",
            "meta_train": "metabo.meta_training.meta_train",
        },
    )
