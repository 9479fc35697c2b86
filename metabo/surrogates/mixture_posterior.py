r"""The posterior of a mixture of Gaussian processes at q points, as BoTorch wants it.

Mean and (co)variance are those of the whole mixture,

.. math::
    \mu = \sum_k \pi_k \mu_k, \qquad \Sigma = \sum_k \pi_k (\Sigma_k + \mu_k \mu_k^\top) - \mu
    \mu^\top,

and samples are drawn from the mixture itself, jointly over the q points: first a component, then
its Gaussian. So acquisition functions that work with samples see the mixture, not a Gaussian with
its moments.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from botorch.posteriors import GPyTorchPosterior, Posterior
from botorch.sampling.get_sampler import GetSampler, _get_sampler_mvn
from gpytorch.distributions import MultivariateNormal
from torch import Size, Tensor

from metabo.mixture.conditioning import JITTERS

_GOLDEN = (math.sqrt(5) - 1) / 2


class Gaussians(Protocol):
    """C joint Gaussians over q points."""

    @property
    def means(self) -> Tensor:
        """`... x C x q`."""

    @property
    def variances(self) -> Tensor:
        """`... x C x q`."""

    def covariance(self) -> Tensor:
        """`... x C x q x q`, when it is asked for."""


class MixturePosterior(Posterior):
    """A mixture of C joint Gaussians over q points and one output.

    Args:
        log_weights: `... x C`, log probabilities of the components.
        prediction: Each component's Gaussian in model units.
        noise: `... x C x q`, added to the variances; in model units.
        offset: Model units to user's units: `y = offset + scale * model`.
        scale: Likewise.
        dtype: Of what is returned; the computation is in double precision.
    """

    def __init__(
        self,
        log_weights: Tensor,
        prediction: Gaussians,
        *,
        noise: Tensor | None = None,
        offset: float = 0.0,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self._prediction, self._noise, self._dtype = prediction, noise, dtype
        self._offset, self._scale = offset, scale
        batch = prediction.means.shape[:-2]
        self.log_weights = log_weights.expand(*batch, -1)
        variances = prediction.variances if noise is None else prediction.variances + noise
        # Of fantasies, the variances are the same.
        self.means, self.variances = torch.broadcast_tensors(
            offset + scale * prediction.means, scale**2 * variances
        )

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.means.device

    @property
    def dtype(self) -> torch.dtype:
        """Of what is returned."""
        return self._dtype

    @property
    def weights(self) -> Tensor:
        """The probabilities of the components, `... x C`."""
        return self.log_weights.exp()

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture, `... x q x 1`."""
        return (self.weights.unsqueeze(-1) * self.means).sum(-2).unsqueeze(-1).to(self._dtype)

    @property
    def variance(self) -> Tensor:
        """The variance of the mixture, `... x q x 1`: within components and between them."""
        weights = self.weights.unsqueeze(-1)
        center = (weights * self.means).sum(-2, keepdim=True)
        spread = self.variances + (self.means - center).square()
        return (weights * spread).sum(-2).unsqueeze(-1).to(self._dtype)

    def component_covariances(self) -> Tensor:
        """The covariance of each component, `... x C x q x q`, in the user's units squared."""
        covariance = self._scale**2 * self._prediction.covariance()
        covariance = covariance.expand(*self.variances.shape, -1)
        # The variances are kept positive where rounding, and known noise, would have it otherwise.
        return covariance.diagonal_scatter(self.variances, dim1=-2, dim2=-1)

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix of the mixture, `... x q x q`."""
        weights = self.weights[..., None, None]
        center = (weights.squeeze(-1) * self.means).sum(-2, keepdim=True)
        deviation = (self.means - center).unsqueeze(-1)
        spread = self.component_covariances() + deviation @ deviation.mT
        return (weights * spread).sum(-3).to(self._dtype)

    @property
    def distribution(self) -> MultivariateNormal:
        """The one Gaussian with the mixture's moments, for what cannot use a mixture."""
        return MultivariateNormal(self.mean.squeeze(-1), self.covariance_matrix)

    @property
    def mvn(self) -> MultivariateNormal:
        """What older parts of BoTorch call `distribution`."""
        return self.distribution

    def gaussian(self) -> GPyTorchPosterior:
        """`distribution` as a posterior."""
        return GPyTorchPosterior(self.distribution)

    def affine(self, scale: float, offset: float) -> MixturePosterior:
        """The posterior of `offset + scale * y`: a mixture again."""
        return MixturePosterior(
            self.log_weights,
            self._prediction,
            noise=self._noise,
            offset=offset + scale * self._offset,
            scale=scale * self._scale,
            dtype=self._dtype,
        )

    def cdf(self, value: Tensor) -> Tensor:
        """The probability that the output is at most `value`; both are `... x q x 1`."""
        return self._cdf(value.to(self.means).squeeze(-1)).unsqueeze(-1).to(self._dtype)

    def _cdf(self, value: Tensor) -> Tensor:
        """In double precision, whatever is asked for; `... x q`."""
        below = torch.special.ndtr((value.unsqueeze(-2) - self.means) / self.variances.sqrt())
        return (self.weights.unsqueeze(-1) * below).sum(-2)

    def quantile(self, value: Tensor) -> Tensor:
        """Marginal quantiles, `[len(value) x] ... x q x 1`, to full precision by bisection.

        Args:
            value: Probabilities, 0-d or one-dimensional, strictly between 0 and 1.
        """
        if value.dim() > 0:
            return torch.stack([self.quantile(v) for v in value])
        if not 0 < float(value) < 1:
            raise ValueError(f"a quantile needs a probability between 0 and 1; got {float(value)}")
        value = value.to(self.means)
        z = torch.special.ndtri(value)
        ends = self.means + z * self.variances.sqrt()
        low, high = ends.amin(-2).unsqueeze(-1), ends.amax(-2).unsqueeze(-1)
        for _ in range(60):
            middle = (low + high) / 2
            under = self._cdf(middle.squeeze(-1)).unsqueeze(-1) < value
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return high.to(self._dtype)

    def density(self, value: Tensor) -> Tensor:
        """The marginal density, `... x q x 1`, at `value` (`... x q x 1`)."""
        return self.log_density(value).exp()

    def log_density(self, value: Tensor) -> Tensor:
        """The logarithm of the marginal density at `value`; both are `... x q x 1`."""
        value = value.to(self.means).squeeze(-1).unsqueeze(-2)
        energy = (value - self.means).square() / self.variances + self.variances.log()
        joint = self.log_weights.unsqueeze(-1) - 0.5 * (energy + math.log(2 * math.pi))
        return joint.logsumexp(-2).unsqueeze(-1).to(self._dtype)

    # --- sampling -------------------------------------------------------------------------------

    @property
    def batch_shape(self) -> Size:
        """All but the q points and the output."""
        return self.means.shape[:-2]

    @property
    def base_sample_shape(self) -> Size:
        """`... x q x 1`."""
        return Size([*self.batch_shape, self.means.shape[-1], 1])

    @property
    def batch_range(self) -> tuple[int, int]:
        """All but the last two dimensions, which share base samples."""
        return (0, -2)

    def _extended_shape(self, sample_shape: Size = Size()) -> Size:  # noqa: B008
        return Size([*sample_shape, *self.base_sample_shape])

    def rsample(self, sample_shape: Size | None = None) -> Tensor:
        """Samples, `sample_shape x ... x q x 1`, with gradients."""
        shape = Size([1]) if sample_shape is None else sample_shape
        base = torch.randn(self._extended_shape(shape), dtype=torch.float64, device=self.device)
        uniform = torch.rand([*shape, *self.batch_shape], dtype=torch.float64, device=self.device)
        return self._transform(base, uniform)

    def marginal_sample(self, sample_shape: Size) -> Tensor:
        """Draws at each point on its own, `sample_shape x ... x q`, without gradients."""
        shape, q = sample_shape, self.base_sample_shape[-2]
        normal = torch.randn(*shape, *self.batch_shape, q, dtype=torch.float64, device=self.device)
        weights = self.weights.unsqueeze(-2).expand(*self.batch_shape, q, -1)
        chosen = torch.distributions.Categorical(probs=weights).sample(shape)
        return self._marginal_draws(normal, chosen)

    def _marginal_draws(self, normal: Tensor, chosen: Tensor) -> Tensor:
        """From standard normal draws, and the component of each; both `... x q`."""
        index = chosen.unsqueeze(-2)
        lead = chosen.shape[: chosen.dim() - self.means.dim() + 1]
        means = self.means.expand(*lead, *self.means.shape).gather(-2, index).squeeze(-2)
        variances = self.variances.expand(*lead, *self.means.shape).gather(-2, index).squeeze(-2)
        return means + variances.sqrt() * normal

    def rsample_from_base_samples(self, sample_shape: Size, base_samples: Tensor) -> Tensor:
        """Samples, `sample_shape x ... x q x 1`, from standard normal ones of that shape.

        The components are dealt out to the samples by a golden-ratio sequence, in proportion to
        their probabilities to within one sample, and alike for all points: acquisition values stay
        smooth. Where it starts depends on the base samples, so that another seed deals otherwise.
        """
        base = base_samples.to(torch.float64).expand(self._extended_shape(sample_shape))
        count, batch = sample_shape.numel(), self.batch_shape
        first = base.reshape(count, batch.numel(), self.base_sample_shape[-2])[:, :1]
        steps = torch.arange(count, dtype=torch.float64, device=self.device)
        uniform = (1e3 * first.sum() + steps * _GOLDEN).remainder(1.0)
        uniform = uniform.reshape([*sample_shape, *[1] * len(batch)])
        return self._transform(base, uniform.expand([*sample_shape, *batch]))

    def _transform(self, base: Tensor, uniform: Tensor) -> Tensor:
        cumulative = self.weights.detach().cumsum(-1)
        cumulative[..., -1] = 1.0
        chosen = (uniform.unsqueeze(-1) > cumulative).sum(-1)
        count = chosen.shape[: chosen.dim() - len(self.batch_shape)].numel()
        flat = base.reshape(count, *self.base_sample_shape)  # S x ... x q x 1
        chosen = chosen.reshape(count, *self.batch_shape)
        used = chosen.unique()
        roots = _root(self.component_covariances()[..., used, :, :])
        samples = torch.zeros_like(flat)
        for component, root in zip(used, roots.unbind(-3), strict=True):
            hit = chosen == component
            rows = hit.flatten(1).any(-1) if hit.dim() > 1 else hit
            # Side by side, the samples share the root, which would be copied for each.
            spread = (root @ flat[rows].squeeze(-1).movedim(0, -1)).movedim(-1, 0)
            draws = (self.means[..., component, :] + spread).unsqueeze(-1)
            samples[rows] = torch.where(hit[rows][..., None, None], draws, samples[rows])
        return samples.reshape(base.shape).to(self._dtype)


def _root(covariance: Tensor) -> Tensor:
    """A root of covariances `... x q x q`, which are singular where points repeat."""
    scale = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    for jitter in JITTERS:
        root, info = torch.linalg.cholesky_ex(covariance + jitter * scale * identity)
        if not bool(info.any()):
            return root
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(1e-12 * scale.squeeze(-1)).sqrt().unsqueeze(-2)


GetSampler.register(MixturePosterior)(_get_sampler_mvn)
