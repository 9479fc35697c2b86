r"""What the two plain surrogates share: one Gaussian process, with mean and scales from a Prior.

.. math::
    f \sim GP\big(\phi(x) \cdot \bar m,\; s^2\, \mathrm{Matern}_{5/2}\big), \quad
    \bar m = \sum_k \pi_k m_k

The mean is that of the mixture's family components. The head that Reptile ended with would be
another, but it belongs to the features before they were refined, and on new tasks it is off by
more. Variance, length scales and noise are pooled over training tasks that the mean had not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from botorch.models import SingleTaskGP
from botorch.models.transforms.outcome import (
    ChainedOutcomeTransform,
    OutcomeTransform,
    Standardize,
)
from botorch.utils.datasets import SupervisedDataset
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.priors import LogNormalPrior
from torch import Size, Tensor

from metabo.prior import PooledKernel, Prior
from metabo.surrogates.prior_features import Columns, FeatureMatern, HeadMean, PriorFeatures
from metabo.surrogates.training_data import check_training_data
from metabo.surrogates.warp_transform import WarpTransform

# How far a fit may move a hyperparameter from its pooled value: one task says less than all.
_LOG_SD = 0.25
_MIN_NOISE = 1e-8
_LEAST = 1e-8  # of a hyperparameter: absurd outputs would drive it to where it underflows


class PlainGP(SingleTaskGP):
    """A `SingleTaskGP` that starts from a Prior: the base of the two plain surrogates.

    It needs no fitting. `fit_gpytorch_mll` moves the kernel and the noise, each held near its
    pooled value by a log-normal prior, and leaves the network alone.

    Args:
        train_X: `batch_shape x n x d`, in the user's units; n > 0.
        train_Y: `batch_shape x n x 1`, in the user's units.
        prior: From `metabo.meta_train` or `Prior.load`. It is not changed: the network is copied.
        train_Yvar: `batch_shape x n x 1`, known noise variances; the pooled noise if None.
        kernel: The pooled hyperparameters.
        columns: Which columns of `PriorFeatures` the kernel sees.
        adapt: Whether `fit_gpytorch_mll` trains a copy of the network too. With a handful of
            observations it overfits them.

    Raises:
        BotorchTensorDimensionError: If shapes do not fit.
        InputDataError: If Y is not finite.
        SpaceError: If X is outside the Prior's space.
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        prior: Prior,
        train_Yvar: Tensor | None = None,
        *,
        kernel: PooledKernel,
        columns: range,
        adapt: bool = False,
    ) -> None:
        check_training_data(train_X, train_Y, train_Yvar)
        prior.space.check(train_X, name="train_X")
        batch_shape = train_X.shape[:-2]
        features = PriorFeatures(prior, adapt=adapt)
        super().__init__(
            train_X,
            train_Y,
            train_Yvar,
            likelihood=_likelihood(kernel, batch_shape) if train_Yvar is None else None,
            covar_module=_matern(kernel, features, columns, batch_shape),
            mean_module=HeadMean(features, prior.mixture.mean_head, adapt=adapt),
            outcome_transform=_to_model_units(prior).to(train_Y),
        )
        self._subset_batch_dict: dict[str, int] = {}  # one output: no parameter to subset

    @classmethod
    def construct_inputs(  # type: ignore[override]
        cls, training_data: SupervisedDataset, *, prior: Prior, adapt: bool = False
    ) -> dict[str, Any]:
        """The arguments of the constructor, from a data set and Ax's model options."""
        return super().construct_inputs(training_data) | {"prior": prior, "adapt": adapt}


def _to_model_units(prior: Prior) -> OutcomeTransform:
    scale = PriorScale(prior.output_offset, prior.output_scale)
    if prior.warp is None:
        return scale
    return ChainedOutcomeTransform(warp=WarpTransform(prior.warp), scale=scale)


class PriorScale(Standardize):
    """The Prior's scale of Y, fixed: BoTorch's `Standardize` that never learns from the task."""

    def __init__(self, offset: float, scale: float) -> None:
        super().__init__(m=1)
        self.double()
        self.means.fill_(offset)
        self.stdvs.fill_(scale)
        self._stdvs_sq.fill_(scale**2)
        self._is_trained = torch.tensor(True)
        self.eval()

    def train(self, mode: bool = True) -> PriorScale:
        """Nothing: the transform stays as it is in evaluation mode."""
        return super().train(False)


def _matern(
    kernel: PooledKernel, features: PriorFeatures, columns: range, batch_shape: Size
) -> ScaleKernel:
    lengthscales = torch.tensor(kernel.lengthscales, dtype=torch.float64)
    outputscale = torch.tensor(kernel.outputscale, dtype=torch.float64)
    base = FeatureMatern(
        Columns(features, columns),
        ard_num_dims=len(columns) if len(lengthscales) == len(columns) else None,
        batch_shape=batch_shape,
        lengthscale_constraint=GreaterThan(_LEAST),
        lengthscale_prior=_near(lengthscales),
    )
    scaled = ScaleKernel(
        base,
        batch_shape=batch_shape,
        outputscale_constraint=GreaterThan(_LEAST),
        outputscale_prior=_near(outputscale),
    ).double()
    base.lengthscale = lengthscales
    scaled.outputscale = outputscale
    return scaled


def _likelihood(kernel: PooledKernel, batch_shape: Size) -> GaussianLikelihood:
    noise = torch.tensor([max(kernel.noise, 2 * _MIN_NOISE)], dtype=torch.float64)
    likelihood = GaussianLikelihood(
        noise_prior=_near(noise), noise_constraint=GreaterThan(_MIN_NOISE), batch_shape=batch_shape
    ).double()
    likelihood.noise = noise
    return likelihood


class _MovingPrior(LogNormalPrior):
    """Goes where the model goes: GPyTorch moves its buffers, and not the distribution."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.loc, self.scale = self._buffered_loc, self._buffered_scale
        return self


def _near(value: Tensor) -> LogNormalPrior:
    """The prior whose mode is `value`."""
    return _MovingPrior(value.log() + _LOG_SD**2, torch.full_like(value, _LOG_SD))
