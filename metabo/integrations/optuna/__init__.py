"""A Prior in Optuna: learn it from earlier studies, and let it propose the trials of a new one."""

from metabo.integrations.optuna.sampler import MetaboSampler, OutsidePriorWarning
from metabo.integrations.optuna.studies import family_from_studies, prior_from_studies

__all__ = ["MetaboSampler", "OutsidePriorWarning", "family_from_studies", "prior_from_studies"]
