r"""The posterior in the user's units, where the Prior warps outputs: :math:`y = v^{-1}(u)`.

In the units of the warp the posterior is a mixture of Gaussians. Quantiles, probabilities,
densities and samples of y are exact. The moments of a component are those of :math:`v^{-1}` of a
Gaussian, by Gauss-Hermite quadrature; for covariances, :math:`v^{-1}` is expanded in Hermite
polynomials (Mehler's formula),

.. math::
    c_m = E[v^{-1}(\mu + \sigma z)\, He_m(z)] / \sqrt{m!}, \qquad
    \mathrm{Cov}(y_i, y_j) = \sum_{m \ge 1} c_m(i)\, c_m(j)\, \rho_{ij}^m .
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from botorch.sampling.get_sampler import GetSampler, _get_sampler_mvn
from torch import Size, Tensor

from metabo.surrogates.mixture_posterior import MixturePosterior
from metabo.warp import Warp

_NODES = 24
_DEGREE = 8  # of the expansion; what is left of the variance counts as independent


class WarpedPosterior(MixturePosterior):
    """A mixture of C warped Gaussians over q points and one output.

    `means` and `variances` are those of the components in the user's units.

    Args:
        warped: The posterior of the warped output.
        warp: What the output was warped by.
        slope: Of what is returned: `intercept + slope * y`.
        intercept: Likewise.
    """

    def __init__(
        self, warped: MixturePosterior, warp: Warp, *, slope: float = 1.0, intercept: float = 0.0
    ) -> None:
        self.warped, self.warp, self.slope, self.intercept = warped, warp, slope, intercept
        self._dtype, self.log_weights = warped.dtype, warped.log_weights

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        # When they are asked for: samples and quantiles need none.
        return warped_moments(self._to_user, self.warped.means, self.warped.variances)

    @property
    def means(self) -> Tensor:
        """The means of the components, `... x C x q`."""
        return self._moments[0]

    @property
    def variances(self) -> Tensor:
        """The variances of the components, `... x C x q`."""
        return self._moments[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.warped.device

    @property
    def batch_shape(self) -> Size:
        """All but the q points and the output."""
        return self.warped.batch_shape

    @property
    def base_sample_shape(self) -> Size:
        """`... x q x 1`."""
        return self.warped.base_sample_shape

    def _to_user(self, warped: Tensor) -> Tensor:
        return self.intercept + self.slope * self.warp.inverse(warped)

    def component_covariances(self) -> Tensor:
        """The covariance of each component, `... x C x q x q`, in the user's units squared."""
        warped = self.warped
        covariance, deviation = warped.component_covariances(), warped.variances.sqrt()
        correlation = covariance / (deviation.unsqueeze(-1) * deviation.unsqueeze(-2))
        correlation = correlation.clamp(-1, 1)
        nodes, weights = _quadrature(warped.means)
        values = self._to_user(_at(nodes, warped.means, deviation))
        result, power = torch.zeros_like(covariance), torch.ones_like(covariance)
        for degree in range(1, _DEGREE + 1):
            unit = [0.0] * degree + [1.0]
            polynomial = np.polynomial.hermite_e.hermeval(nodes.cpu().numpy(), unit)
            factor = weights * torch.from_numpy(polynomial).to(weights)
            c = torch.tensordot(factor, values, 1) / math.sqrt(math.factorial(degree))
            power = power * correlation
            result = result + c.unsqueeze(-1) * c.unsqueeze(-2) * power
        return result.diagonal_scatter(self.variances, dim1=-2, dim2=-1)

    def affine(self, scale: float, offset: float) -> WarpedPosterior:
        """The posterior of `offset + scale * y`."""
        return WarpedPosterior(
            self.warped,
            self.warp,
            slope=scale * self.slope,
            intercept=offset + scale * self.intercept,
        )

    def _to_warped(self, value: Tensor) -> Tensor:
        return self.warp((value - self.intercept) / self.slope)

    def _cdf(self, value: Tensor) -> Tensor:
        below = self.warped._cdf(self._to_warped(value))
        return below if self.slope > 0 else 1 - below

    def quantile(self, value: Tensor) -> Tensor:
        """Marginal quantiles, `[len(value) x] ... x q x 1`; as of `MixturePosterior`."""
        return self._to_user(self.warped.quantile(value if self.slope > 0 else 1 - value))

    def log_density(self, value: Tensor) -> Tensor:
        """The logarithm of the marginal density at `value`; both are `... x q x 1`."""
        y = (value.to(self.means) - self.intercept) / self.slope
        jacobian = self.warp.log_slope(y) - math.log(abs(self.slope))
        return (self.warped.log_density(self.warp(y)) + jacobian).to(self._dtype)

    def _marginal_draws(self, normal: Tensor, chosen: Tensor) -> Tensor:
        return self._to_user(self.warped._marginal_draws(normal, chosen))

    def _transform(self, base: Tensor, uniform: Tensor) -> Tensor:
        return self._to_user(self.warped._transform(base, uniform))


def warped_moments(
    function: Callable[[Tensor], Tensor], mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and variance of a function of Gaussians, elementwise, of any shape."""
    nodes, weights = _quadrature(mean)
    values = function(_at(nodes, mean, variance.sqrt()))
    moment = torch.tensordot(weights, values, 1)
    return moment, torch.tensordot(weights, (values - moment).square(), 1)


def _quadrature(like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and probabilities for a standard normal variable."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    return torch.from_numpy(nodes).to(like), torch.from_numpy(weights).to(like)


def _at(nodes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """`nodes x ...`, so many deviations from the mean."""
    return mean + deviation * nodes.reshape(-1, *[1] * mean.dim())


GetSampler.register(WarpedPosterior)(_get_sampler_mvn)
