"""The vanilla Gaussian process: what a BoTorch user gets without earlier runs.

A `SingleTaskGP` with BoTorch's own defaults (standardised outputs, the kernel and hyperparameter
priors of [Hvarfner2024]_), fitted to each task by `fit_gpytorch_mll`; a `MixedSingleTaskGP` where
inputs are categorical.

.. [Hvarfner2024] C. Hvarfner, E. O. Hellsten, L. Nardi. Vanilla Bayesian Optimization Performs
   Great in High Dimensions. arXiv:2402.02229.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from botorch.acquisition import AcquisitionFunction, LogExpectedImprovement
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.exceptions import InputDataWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, SingleTaskGP
from botorch.models.transforms.input import (
    ChainedInputTransform,
    InputTransform,
    Log10,
    Normalize,
)
from botorch.sampling import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.warnings import NumericalWarning
from torch import Tensor
from torch.distributions import Normal

from metabo.baselines.candidate_search import CandidateSearch
from metabo.objective import Objective
from metabo.space import InputSpace

_NUM_SAMPLES = 128
_CHUNK = 4096


def vanilla_gp(X: Tensor, Y: Tensor, space: InputSpace) -> SingleTaskGP:
    """Fit BoTorch's default model to one task.

    Args:
        X: `n x d`, in the user's units; n > 0.
        Y: `n x 1`.
        space: The inputs; numbers are scaled to the unit cube, after a logarithm where the scale is
            one.
    """
    # A search predicts without gradients; a fit needs them.
    with quiet(), torch.enable_grad():
        model = unfitted_gp(X, Y, space)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def unfitted_gp(X: Tensor, Y: Tensor, space: InputSpace) -> SingleTaskGP:
    """The same model with hyperparameters as BoTorch begins with; arguments as in `vanilla_gp`."""
    transform = unit_cube(space)
    with quiet():
        if space.categorical_dims:
            dims = list(space.categorical_dims)
            return MixedSingleTaskGP(X, Y, dims, input_transform=transform)
        return SingleTaskGP(X, Y, input_transform=transform)


def unit_cube(space: InputSpace) -> InputTransform:
    """The input transform to the unit cube; categories stay indices."""
    bounds = space.bounds.clone()
    log = list(space.log_dims)
    bounds[:, log] = bounds[:, log].log10()
    varying = [i for i in space.numeric_dims if bounds[0, i] < bounds[1, i]]
    normalize = Normalize(space.dim, indices=varying, bounds=bounds) if varying else None
    steps = {"log": Log10(indices=log) if log else None, "unit": normalize}
    return ChainedInputTransform(**{name: step for name, step in steps.items() if step})


def predict_vanilla(X: Tensor, Y: Tensor, query: Tensor, space: InputSpace) -> Normal:
    """The predictive distribution of observations at query points (`q x d`), of batch shape q."""
    model = vanilla_gp(X, Y, space)
    with torch.no_grad(), quiet():
        posterior = model.posterior(query, observation_noise=True)
        return Normal(posterior.mean.squeeze(-1), posterior.variance.squeeze(-1).sqrt())


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings about what is in order here.

    Near a measured point a covariance needs jitter; and constant responses, or a single one, have
    no spread that `Standardize` could set to one. linear_operator's sparse matrices are sound.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse invariant checks", UserWarning)
        warnings.filterwarnings("ignore", "A not p.d., added jitter", NumericalWarning)
        warnings.filterwarnings("ignore", r".*is not standardized \(std = ", InputDataWarning)
        yield


class VanillaGPSearch(CandidateSearch):
    """Bayesian optimisation with the vanilla Gaussian process.

    Maximises the log expected improvement [Ament2023]_ of the response, or, if asked for, its noisy
    variant; or, where there is a known objective on top of the response, the noisy expected
    improvement of that objective, so that the response is what is modelled, as in composite
    Bayesian optimisation [Astudillo2019]_.

    .. [Ament2023] S. Ament et al. Unexpected Improvements to Expected Improvement for Bayesian
       Optimization. arXiv:2310.20708.
    .. [Astudillo2019] R. Astudillo, P. Frazier. Bayesian Optimization of Composite Functions.
       arXiv:1906.01537.

    Args:
        space: As in `CandidateSearch`.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: As in `CandidateSearch`.
        num_random: As in `CandidateSearch`; at least one, since there is no prior to start from.
        noisy: Whether to maximise the noisy expected improvement without an objective, too.
    """

    def __init__(
        self,
        space: InputSpace,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
        num_random: int = 2,
        noisy: bool = False,
    ) -> None:
        if num_random < 1:
            raise ValueError(f"num_random is {num_random}; the first point has to be random")
        super().__init__(space, candidates, seed=seed, num_random=num_random)
        self.objective = objective
        self.noisy = noisy

    def scores(self, indices: Tensor) -> Tensor:
        """The acquisition value of each candidate."""
        model = vanilla_gp(self.X, self.Y, self.space)
        points = self.candidates[indices].unsqueeze(-2)
        with torch.no_grad(), quiet():
            acquisition = self._acquisition(model)
            return torch.cat([acquisition(chunk) for chunk in points.split(_CHUNK)])

    def _acquisition(self, model: SingleTaskGP) -> AcquisitionFunction:
        if self.objective is None and not self.noisy:
            return LogExpectedImprovement(model, best_f=self.Y.max())
        # X is never None.
        objective = None if self.objective is None else GenericMCObjective(self.objective)  # type: ignore[arg-type]
        return qLogNoisyExpectedImprovement(
            model,
            X_baseline=self.X,
            sampler=SobolQMCNormalSampler(torch.Size([_NUM_SAMPLES]), seed=self.seed),
            objective=objective,
            prune_baseline=False,  # it would drop points by chance; n is small
        )
