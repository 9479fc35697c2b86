"""The conjugate mixture over head weights: its components, its posterior, and how it is learned."""

from metabo.mixture.broad import broad_components, fit_broad
from metabo.mixture.components import Mixture, concatenate
from metabo.mixture.conditioning import ConditionedMixture, condition
from metabo.mixture.em import EMSettings, fit_gaussian, fit_mixture, held_out_evidence
from metabo.mixture.expectation import HeadPosterior, Pairs, expectation, likely_pairs
from metabo.mixture.parameters import ParameterMap, fit_parameter_map
from metabo.mixture.paths import Paths, draw_paths
from metabo.mixture.remainder import HeadTasks, Remainder, Trend, fit_remainder, log_likelihood
from metabo.mixture.statistics import HeadPrior, HeadStatistics

__all__ = [
    "ConditionedMixture",
    "EMSettings",
    "HeadPosterior",
    "HeadPrior",
    "HeadStatistics",
    "HeadTasks",
    "Mixture",
    "Pairs",
    "ParameterMap",
    "Paths",
    "Remainder",
    "Trend",
    "broad_components",
    "concatenate",
    "condition",
    "draw_paths",
    "expectation",
    "fit_broad",
    "fit_gaussian",
    "fit_mixture",
    "fit_parameter_map",
    "fit_remainder",
    "held_out_evidence",
    "likely_pairs",
    "log_likelihood",
]
