"""Surrogates: BoTorch models that rest on a Prior, and the acquisition function made for them."""

from metabo.surrogates.incumbent_improvement import LogIncumbentImprovement
from metabo.surrogates.kernel_gp import ReptileKernelGP
from metabo.surrogates.mean_gp import ReptileMeanGP
from metabo.surrogates.mixture_members import MixtureMembers
from metabo.surrogates.mixture_posterior import MixturePosterior
from metabo.surrogates.mixture_prior_gp import MixturePriorGP
from metabo.surrogates.sample_paths import MixturePath

__all__ = [
    "LogIncumbentImprovement",
    "MixtureMembers",
    "MixturePath",
    "MixturePosterior",
    "MixturePriorGP",
    "ReptileKernelGP",
    "ReptileMeanGP",
]
