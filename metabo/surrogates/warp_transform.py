"""A Prior's warp of outputs as an outcome transform of BoTorch, for surrogates that are one GP."""

from __future__ import annotations

from botorch.models.transforms.outcome import OutcomeTransform
from botorch.posteriors import Posterior, TransformedPosterior
from torch import Tensor

from metabo.surrogates.warped_posterior import warped_moments
from metabo.warp import Warp


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

    def untransform_posterior(
        self, posterior: Posterior, X: Tensor | None = None
    ) -> TransformedPosterior:
        """The posterior of the output in the user's units, its moments by quadrature."""
        return TransformedPosterior(
            posterior,
            sample_transform=self.warp.inverse,
            mean_transform=lambda mean, variance: self._moments(mean, variance)[0],
            variance_transform=lambda mean, variance: self._moments(mean, variance)[1],
        )

    def _moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        return warped_moments(self.warp.inverse, mean, variance)

    def subset_output(self, idcs: list[int]) -> WarpTransform:
        """The transform itself: there is one output."""
        return self
