"""The methods that are compared, each as the user would set it up.

A method predicts observations from a few others, or searches, or both. All model the response, and
get the known objective on top of it.
"""

from metabo.benchmark.methods.own import OWN_METHODS, Metabo, PlainSurrogate, own_methods
from metabo.benchmark.methods.packages import PACKAGE_METHODS, package_methods
from metabo.benchmark.methods.plain import TPE, Exact, Random, Sobol, VanillaGP, plain_methods
from metabo.benchmark.methods.protocols import Predictor, Search, Searcher
from metabo.benchmark.methods.transfer import (
    RGPE,
    TSTR,
    AverageRank,
    DeepKernel,
    MultiTask,
    OneGaussian,
    transfer_methods,
)

__all__ = [
    "OWN_METHODS",
    "PACKAGE_METHODS",
    "RGPE",
    "TPE",
    "TSTR",
    "AverageRank",
    "DeepKernel",
    "Exact",
    "Metabo",
    "MultiTask",
    "OneGaussian",
    "PlainSurrogate",
    "Predictor",
    "Random",
    "Search",
    "Searcher",
    "Sobol",
    "VanillaGP",
    "own_methods",
    "package_methods",
    "plain_methods",
    "transfer_methods",
]
