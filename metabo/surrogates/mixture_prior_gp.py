"""The few-shot surrogate: a mixture of exact Gaussian processes with a meta-learned prior."""

from __future__ import annotations

from typing import Any

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.exceptions.errors import BotorchTensorDimensionError, InputDataError
from botorch.models.model import FantasizeMixin, Model
from botorch.posteriors import Posterior
from gpytorch.constraints import Positive
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood, GaussianLikelihood
from gpytorch.mlls import MarginalLogLikelihood
from gpytorch.models import GP
from torch import Size, Tensor

from metabo.mixture import ConditionedMixture, condition
from metabo.prior import Prior
from metabo.surrogates.mixture_posterior import MixturePosterior


class MixturePriorGP(Model, GP, FantasizeMixin):
    """A BoTorch model whose posterior is exact and in closed form; nothing is fitted on the task.

    Use it where you would use `SingleTaskGP`. The Prior's scale of Y takes the place of an
    outcome transform, and n = 0 is allowed: then the posterior is the prior.

    Args:
        train_X: `batch_shape x n x d`, in the user's units; a categorical input is its index.
        train_Y: `batch_shape x n x 1`, in the user's units; larger is better.
        prior: From `metabo.meta_train` or `Prior.load`. It is not changed.
        train_Yvar: `batch_shape x n x 1`, known noise variances; the learned noise if None.

    Raises:
        BotorchTensorDimensionError: If shapes do not fit.
        InputDataError: If Y is not finite, or a variance is negative.
        SpaceError: If X is outside the Prior's space.
    """

    def __init__(
        self, train_X: Tensor, train_Y: Tensor, prior: Prior, train_Yvar: Tensor | None = None
    ) -> None:
        super().__init__()
        _check(train_X, train_Y, train_Yvar, prior)
        self._condition(train_X, train_Y, train_Yvar, prior)
        self.eval()

    def _condition(
        self, train_X: Tensor, train_Y: Tensor, train_Yvar: Tensor | None, prior: Prior
    ) -> None:
        self.prior = prior.to(train_X.device) if prior.device != train_X.device else prior
        self.train_inputs = (train_X,)
        self.train_targets = train_Y.squeeze(-1)
        self.train_Yvar = train_Yvar
        self.conditioned = self._conditioned()
        self.likelihood = self._likelihood()

    def _conditioned(self) -> ConditionedMixture:
        features, inputs = self.prior.encode(self.train_inputs[0].double())
        offset, scale = self.prior.output_offset, self.prior.output_scale
        targets = (self.train_targets.double() - offset) / scale
        noise = None if self.train_Yvar is None else self.train_Yvar.double().squeeze(-1) / scale**2
        return condition(self.prior.mixture, features, inputs, targets, noise)

    def _likelihood(self) -> GaussianLikelihood | FixedNoiseGaussianLikelihood:
        """For code that builds a marginal log likelihood around any model; there is nothing to
        fit."""
        if self.train_Yvar is not None:
            return FixedNoiseGaussianLikelihood(
                self.train_Yvar.squeeze(-1), batch_shape=self.batch_shape
            )
        weights = self.conditioned.log_weights.exp()
        noise = (weights * self.prior.mixture.noises).sum(-1, keepdim=True)
        likelihood = GaussianLikelihood(noise_constraint=Positive(), batch_shape=self.batch_shape)
        likelihood = likelihood.to(self.train_targets)
        likelihood.noise = (noise * self.prior.output_scale**2).to(self.train_targets)
        return likelihood.requires_grad_(False)

    @property
    def num_outputs(self) -> int:
        return 1

    @property
    def batch_shape(self) -> Size:
        return self.train_inputs[0].shape[:-2]

    @property
    def log_evidence(self) -> Tensor:
        """The log density, `batch_shape`, of the observations before they were seen, in the
        user's units."""
        count = self.train_targets.shape[-1]
        scale = torch.tensor(self.prior.output_scale, dtype=torch.float64)
        return self.conditioned.log_evidence - count * scale.log()

    @property
    def prior_weight(self) -> Tensor:
        """The probability, `batch_shape`, that the task belongs to the family the Prior was
        learned from."""
        of_family = ~self.prior.mixture.is_broad
        return self.conditioned.log_weights[..., of_family].exp().sum(-1)

    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """The predictive mixture at X, in the user's units.

        Args:
            X: `batch_shape x q x d`, in the user's units.
            output_indices: `[0]` or None.
            observation_noise: True adds the learned noise; a tensor `... x q x 1` adds these
                variances.
            posterior_transform: Applied to the result.
        """
        _check_output_indices(output_indices)
        conditioned = self.conditioned.likely()
        features, inputs = self.prior.encode(X.double())
        prediction = conditioned.predict(features, inputs)
        scale = self.prior.output_scale
        noise = None
        if isinstance(observation_noise, Tensor):
            noise = observation_noise.double().squeeze(-1).unsqueeze(-2) / scale**2
        elif observation_noise:
            noise = self._predictive_noise(conditioned)
        posterior = MixturePosterior(
            conditioned.log_weights,
            prediction,
            noise=noise,
            offset=self.prior.output_offset,
            scale=scale,
            dtype=self.train_inputs[0].dtype,
        )
        return posterior if posterior_transform is None else posterior_transform(posterior)

    def _predictive_noise(self, conditioned: ConditionedMixture) -> Tensor:
        if self.train_Yvar is None or self.train_Yvar.shape[-2] == 0:
            return conditioned.mixture.noises[:, None]
        known = self.train_Yvar.double().mean(-2) / self.prior.output_scale**2
        return known.unsqueeze(-1)

    def condition_on_observations(
        self, X: Tensor, Y: Tensor, noise: Tensor | None = None, **kwargs: Any
    ) -> MixturePriorGP:
        """The model after more observations; the weights of the components move with the evidence.

        Args:
            X: `batch_shape x n' x d`.
            Y: `batch_shape' x n' x 1`, with at least the batch dimensions of X.
            noise: `batch_shape' x n' x 1`, variances; needed if the model has known noise.
        """
        batch = torch.broadcast_shapes(X.shape[:-2], Y.shape[:-2], self.batch_shape)

        def joined(old: Tensor, new: Tensor) -> Tensor:
            old = old.expand(*batch, *old.shape[-2:])
            return torch.cat([old, new.expand(*batch, *new.shape[-2:]).to(old)], -2)

        variances = self.train_Yvar
        if variances is not None:
            if noise is None:
                noise = variances.mean(-2, keepdim=True).expand(*Y.shape[:-2], Y.shape[-2], 1)
            variances = joined(variances, noise)
        model = MixturePriorGP.__new__(type(self))
        super(MixturePriorGP, model).__init__()
        targets = joined(self.train_targets.unsqueeze(-1), Y)
        model._condition(joined(self.train_inputs[0], X), targets, variances, self.prior)
        return model.eval()

    def subset_output(self, idcs: list[int]) -> MixturePriorGP:
        _check_output_indices(idcs)
        return self

    def custom_fit(self, mll: MarginalLogLikelihood, **kwargs: Any) -> MarginalLogLikelihood:
        """What `fit_gpytorch_mll` calls: the posterior is exact already, so nothing happens."""
        return mll.eval()

    def forward(self, X: Tensor) -> Posterior:
        return self.posterior(X)


def _check_output_indices(indices: list[int] | None) -> None:
    if indices is not None and list(indices) not in ([0], [-1]):
        raise ValueError(f"the model has one output, index 0; got {indices}")


def _check(X: Tensor, Y: Tensor, Yvar: Tensor | None, prior: Prior) -> None:
    if X.dim() < 2 or X.shape[-1] != prior.space.dim:
        raise BotorchTensorDimensionError(
            f"train_X must be batch_shape x n x {prior.space.dim} "
            f"(the prior's inputs are {', '.join(prior.space.names)}); got shape {tuple(X.shape)}"
        )
    if Y.shape != (*X.shape[:-1], 1):
        raise BotorchTensorDimensionError(
            f"train_Y must be {' x '.join(map(str, (*X.shape[:-1], 1)))} to fit train_X; got {tuple(Y.shape)}"
        )
    if Yvar is not None and Yvar.shape != Y.shape:
        raise BotorchTensorDimensionError(
            f"train_Yvar must have the shape {tuple(Y.shape)} of train_Y; got {tuple(Yvar.shape)}"
        )
    if not bool(Y.isfinite().all()):
        row = (~Y.isfinite()).nonzero()[0].tolist()
        raise InputDataError(
            f"train_Y is {Y[tuple(row)].item()} at {row}: leave failed observations out"
        )
    if Yvar is not None and not bool((Yvar >= 0).all()):
        raise InputDataError("train_Yvar has a negative or missing value; it is a variance")
    prior.space.check(X.reshape(-1, X.shape[-1]), name="train_X")
