"""A Prior's warp of outputs as an outcome transform of BoTorch, for surrogates that are one GP."""

from __future__ import annotations

from dataclasses import dataclass

from botorch.models.transforms.outcome import OutcomeTransform
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

from metabo.surrogates.mixture_posterior import MixturePosterior
from metabo.surrogates.warped_posterior import WarpedPosterior
from metabo.warp import Warp


@dataclass(frozen=True, eq=False)
class _OneGaussian:
    """A Gaussian as a mixture of one component, in double precision."""

    gaussian: MultivariateNormal

    @property
    def means(self) -> Tensor:
        """`... x 1 x q`."""
        return self.gaussian.mean.double().unsqueeze(-2)

    @property
    def variances(self) -> Tensor:
        """`... x 1 x q`."""
        return self.gaussian.variance.double().unsqueeze(-2)

    def covariance(self) -> Tensor:
        """`... x 1 x q x q`; of a whole table it would be gigabytes."""
        return self.gaussian.covariance_matrix.double().unsqueeze(-3)


class WarpTransform(OutcomeTransform):
    """Fixed: nothing is learned from the task.

    Args:
        warp: The Prior's.
    """

    def __init__(self, warp: Warp) -> None:
        super().__init__()
        self.warp = warp
        self.eval()

    def forward(
        self, Y: Tensor, Yvar: Tensor | None = None, X: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Warped outputs `... x n x 1`; noise variances as far as they spread there."""
        if Yvar is not None:
            Yvar = Yvar * (2 * self.warp.log_slope(Y)).exp()
        return self.warp(Y), Yvar

    def untransform(
        self, Y: Tensor, Yvar: Tensor | None = None, X: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The inverse of `forward`."""
        outputs = self.warp.inverse(Y)
        if Yvar is not None:
            Yvar = Yvar * (-2 * self.warp.log_slope(outputs)).exp()
        return outputs, Yvar

    def untransform_posterior(  # type: ignore[override]
        self, posterior: GPyTorchPosterior, X: Tensor | None = None
    ) -> WarpedPosterior:
        """The posterior of the output in the user's units: a mixture of one component."""
        gaussian = _OneGaussian(posterior.distribution)
        certain = gaussian.means.new_zeros(1)
        return WarpedPosterior(
            MixturePosterior(certain, gaussian, dtype=posterior.dtype), self.warp
        )

    def subset_output(self, idcs: list[int]) -> WarpTransform:
        """The transform itself: there is one output."""
        return self
