"""A mixture as an ensemble, for acquisition functions that average over one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.exceptions.errors import UnsupportedError
from botorch.models.model import Model
from botorch.posteriors import Posterior
from botorch.posteriors.fully_bayesian import GaussianMixturePosterior
from gpytorch.distributions import MultivariateNormal
from torch import Size, Tensor

if TYPE_CHECKING:
    from metabo.surrogates.mixture_prior_gp import MixturePriorGP


class MixtureMembers(Model):
    """S equally likely Gaussian processes, of each component as many as its weight asks for.

    BoTorch evaluates an acquisition function on every member and averages the values. So one in
    closed form, which is exact for a Gaussian, is exact for the mixture too, up to the rounding of
    the weights to 1 / S. New observations are for the model itself, whose weights they move.

    Args:
        model: The mixture, not batched.
        num_members: S.

    Raises:
        UnsupportedError: If the model is batched, or has an outcome transform.
    """

    _is_ensemble = True

    def __init__(self, model: MixturePriorGP, num_members: int) -> None:
        super().__init__()
        if model.batch_shape or hasattr(model, "outcome_transform"):
            raise UnsupportedError(
                "members() is for one task at a time, without an outcome transform: build the "
                "model from n x d observations of the transformed output"
            )
        self.model = model
        # Systematic resampling: one member at the middle of each 1 / S of the weights.
        shares = model.conditioned.log_weights.exp().cumsum(-1)
        middles = (torch.arange(num_members).to(shares) + 0.5) / num_members * shares[-1]
        chosen = torch.searchsorted(shares, middles)
        kept, self._index = chosen.unique(return_inverse=True)
        self._conditioned = model.conditioned.select(kept)
        self.eval()

    @property
    def num_outputs(self) -> int:
        """One."""
        return 1

    @property
    def batch_shape(self) -> Size:
        """`S`, as BoTorch has it for an ensemble."""
        return Size([len(self._index)])

    @property
    def train_inputs(self) -> tuple[Tensor]:
        """Those of the model."""
        return self.model.train_inputs

    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """The members' posteriors, `batch_shape x S x q x 1`, at X `batch_shape x q x d`.

        Arguments are as those of the model; a noise tensor is `batch_shape x q x 1`.
        """
        posterior = self.model.mixture_posterior(X, self._conditioned, observation_noise)
        means = posterior.means[..., self._index, :].to(posterior.dtype)
        covariances = posterior.component_covariances()[..., self._index, :, :].to(posterior.dtype)
        members = GaussianMixturePosterior(MultivariateNormal(means, covariances))
        if posterior_transform is None:
            return members
        return posterior_transform(posterior=members, X=X)
