"""Surrogates: BoTorch models that rest on a Prior."""

from metabo.surrogates.mixture_posterior import MixturePosterior
from metabo.surrogates.mixture_prior_gp import MixturePriorGP

__all__ = ["MixturePosterior", "MixturePriorGP"]
