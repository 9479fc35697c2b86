"""The conjugate mixture over head weights: its components, its posterior, and how it is learned."""

from metabo.mixture.components import Mixture, broad_components, concatenate
from metabo.mixture.conditioning import ConditionedMixture, condition
from metabo.mixture.em import (
    EMSettings,
    HeadPrior,
    HeadStatistics,
    fit_gaussian,
    fit_mixture,
    held_out_evidence,
)
from metabo.mixture.remainder import HeadTasks, Remainder, fit_remainder, log_likelihood

__all__ = [
    "ConditionedMixture",
    "EMSettings",
    "HeadPrior",
    "HeadStatistics",
    "HeadTasks",
    "Mixture",
    "Remainder",
    "broad_components",
    "concatenate",
    "condition",
    "fit_gaussian",
    "fit_mixture",
    "fit_remainder",
    "held_out_evidence",
    "log_likelihood",
]
