"""A Prior given one task's observations: posteriors in the user's units."""

from __future__ import annotations

import math

import torch
from botorch.exceptions.errors import UnsupportedError
from torch import Tensor

from metabo.mixture import ConditionedMixture, Mixture, condition, fit_broad
from metabo.mixture.conditioning import Marginals, Prediction
from metabo.prior import Prior
from metabo.surrogates.mixture_posterior import MixturePosterior
from metabo.surrogates.training_data import TrainingData
from metabo.surrogates.warped_posterior import WarpedPosterior

_MOST_NUMBERS = 20_000_000  # in the covariances of all components; more would be gigabytes


class ConditionedPrior:
    """A Prior after observations, and all that leads from their units to the model's and back.

    Args:
        prior: Components may have been left out of it.
        data: The observations.
        inputs: `... x n x d`, X of the observations as the Prior's inputs.

    Attributes:
        prior: Without the components that a part of many observations rules out.
        mixture: The posterior, of all components that are left ...
        likely: ... and of those that matter to predictions.
    """

    def __init__(self, prior: Prior, data: TrainingData, inputs: Tensor) -> None:
        self.prior, self._data, self._inputs = prior, data, inputs
        self.prior = self._screened()
        self.mixture = condition(self.prior.mixture, *self._observations(data, inputs))
        self.likely = self.mixture.likely()

    def _screened(self) -> Prior:
        """The Prior, without the components that a part of many observations rules out.

        Each component has a covariance of its own, so that memory is their number times n x n.
        """
        n, mixture = len(self._data), self.prior.mixture
        part = math.isqrt(_MOST_NUMBERS // mixture.num_components)
        if n <= part:
            return self.prior
        rows = torch.linspace(0, n - 1, part, device=self._inputs.device).long()
        observations = self._observations(self._data.select(rows), self._inputs[..., rows, :])
        return self.prior.select(condition(mixture, *observations).is_likely())

    def _observations(
        self, data: TrainingData, inputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Features, encoded inputs, targets and known noise variances, in model units."""
        features, encoded = self.prior.encode(inputs.double())
        Y, noise = data.Y.squeeze(-1).double(), None
        if data.Yvar is not None:
            noise = self._to_model_noise(data.Yvar.squeeze(-1).double(), Y)
        return features, encoded, self.prior.to_model(Y), noise

    def _to_model_noise(self, variance: Tensor, Y: Tensor) -> Tensor:
        """Noise variances of outputs Y, in the user's units, in model units."""
        if self.prior.warp is None:  # whatever Y is
            return variance / self.prior.output_scale**2
        return variance * (2 * self.prior.log_slope(Y)).exp()

    @property
    def log_evidence(self) -> Tensor:
        """The log density, `...`, of Y under the Prior, in the units of Y."""
        slopes = self.prior.log_slope(self._data.Y.squeeze(-1).double())
        return self.mixture.log_evidence + slopes.sum(-1)

    @property
    def weight(self) -> Tensor:
        """The probability, `...`, that the task belongs to the Prior's family."""
        of_family = ~self.prior.mixture.is_broad
        return self.mixture.log_weights[..., of_family].exp().sum(-1)

    @property
    def noise(self) -> Tensor:
        """The learned noise variance, `... x 1`, in the units of Y where the Prior is centred."""
        weights = self.mixture.log_weights.detach().exp()
        noise = (weights * self.prior.mixture.noises).sum(-1, keepdim=True)
        middle = self.prior.to_user(torch.zeros_like(noise))
        slope = self.prior.log_slope(middle).exp()
        return noise / slope.square()

    def posterior(
        self,
        points: tuple[Tensor, Tensor],
        mixture: ConditionedMixture,
        observation_noise: bool | Tensor,
    ) -> MixturePosterior:
        """The posterior, of all components or of some.

        Args:
            points: Features `... x q x p` and encoded inputs `... x q x e`.
            mixture: `mixture`, `likely` or a selection of it.
            observation_noise: As of `MixturePriorGP.posterior`.
        """
        prediction = mixture.predict(*points)
        noise = self._noise_of_new(observation_noise, mixture.mixture, prediction.means)
        return self._in_user_units(mixture.log_weights, prediction, noise)

    def leave_one_out(self) -> MixturePosterior:
        """What the others say of each observation, `... x n x 1 x 1`, noise included."""
        return self._in_user_units(*self.mixture.leave_one_out())

    def _noise_of_new(self, asked: bool | Tensor, mixture: Mixture, means: Tensor) -> Tensor | None:
        """The noise variance of observations to come, `... x C x q` or `C x 1`, in model units."""
        if isinstance(asked, Tensor):
            known: Tensor | None = asked.squeeze(-1).unsqueeze(-2)
        elif asked:
            known = self._data.mean_known_noise
        else:
            return None
        if known is None:
            return mixture.noises[:, None]
        # as far as it spreads where the observation is expected
        return self._to_model_noise(known.double(), self.prior.to_user(means))

    def _in_user_units(
        self, log_weights: Tensor, prediction: Prediction | Marginals, noise: Tensor | None = None
    ) -> MixturePosterior:
        """The posterior with these Gaussians, in model units, as its components."""
        posterior = MixturePosterior(
            log_weights,
            prediction,
            noise=noise,
            offset=self.prior.output_offset,
            scale=self.prior.output_scale,
            dtype=self._data.X.dtype,
        )
        return posterior if self.prior.warp is None else WarpedPosterior(posterior, self.prior.warp)

    def with_fitted_broad(self) -> Prior:
        """The Prior with one more broad component: an ordinary GP fitted to the observations.

        Raises:
            UnsupportedError: As of `MixturePriorGP.with_fitted_broad`.
        """
        broad = self.prior.mixture.is_broad
        if self._data.Y.dim() > 2 or len(self._data) < 2 or not bool(broad.any()):
            raise UnsupportedError(
                "with_fitted_broad() needs one task, with two observations, and broad components"
            )
        component = fit_broad(*self._observations(self._data, self._inputs))
        # What was fitted pays for it: Schwarz's criterion, for the grid next to it was not.
        fitted = 2 + component.lengthscales.shape[-1]
        share = float(self.prior.mixture.log_weights.exp()[broad].sum())
        return self.prior.with_broad(component, share * len(self._data) ** (-fitted / 2))
