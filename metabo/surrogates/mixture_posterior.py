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

import torch
from botorch.posteriors import GPyTorchPosterior, Posterior
from botorch.sampling.get_sampler import GetSampler, _get_sampler_mvn
from gpytorch.distributions import MultivariateNormal
from torch import Size, Tensor

from metabo.mixture.conditioning import Prediction

_GOLDEN = (math.sqrt(5) - 1) / 2


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
        prediction: Prediction,
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
        self.means = offset + scale * prediction.means
        variances = prediction.variances if noise is None else prediction.variances + noise
        self.variances = scale**2 * variances

    @property
    def device(self) -> torch.device:
        return self.means.device

    @property
    def dtype(self) -> torch.dtype:
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
        """The covariance matrix of each component, `... x C x q x q`, in the user's units
        squared."""
        covariance = self._prediction.covariance()
        if self._noise is not None:
            covariance = covariance + torch.diag_embed(self._noise.expand(covariance.shape[:-1]))
        return self._scale**2 * covariance

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix of the mixture, `... x q x q`."""
        weights = self.weights[..., None, None]
        center = (weights.squeeze(-1) * self.means).sum(-2, keepdim=True)
        deviation = (self.means - center).unsqueeze(-1)
        spread = self.component_covariances() + deviation @ deviation.mT
        return (weights * spread).sum(-3).to(self._dtype)

    def gaussian(self) -> GPyTorchPosterior:
        """The one Gaussian with the mixture's mean and covariance, for what cannot use a
        mixture."""
        return GPyTorchPosterior(MultivariateNormal(self.mean.squeeze(-1), self.covariance_matrix))

    def cdf(self, value: Tensor) -> Tensor:
        """The probability, `... x q x 1`, that the output is at most `value` (`... x q x
        1`)."""
        value = value.to(self.means).squeeze(-1).unsqueeze(-2)
        below = torch.special.ndtr((value - self.means) / self.variances.sqrt())
        return (self.weights.unsqueeze(-1) * below).sum(-2).unsqueeze(-1).to(self._dtype)

    def quantile(self, value: Tensor) -> Tensor:
        """Marginal quantiles, `[len(value) x] ... x q x 1`, to full precision by bisection.

        Args:
            value: Probabilities, 0-d or one-dimensional, strictly between 0 and 1.
        """
        if value.dim() > 0:
            return torch.stack([self.quantile(v) for v in value])
        if not 0 < float(value) < 1:
            raise ValueError(f"a quantile needs a probability between 0 and 1; got {float(value)}")
        z = torch.special.ndtri(value.to(self.means))
        ends = self.means + z * self.variances.sqrt()
        low, high = ends.amin(-2).unsqueeze(-1), ends.amax(-2).unsqueeze(-1)
        exact = MixturePosterior.cdf
        for _ in range(60):
            middle = (low + high) / 2
            under = exact(self, middle).to(middle) < value
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return high.to(self._dtype)

    def density(self, value: Tensor) -> Tensor:
        """The marginal density, `... x q x 1`, at `value` (`... x q x 1`)."""
        return self.log_density(value).exp()

    def log_density(self, value: Tensor) -> Tensor:
        """The logarithm of the marginal density, `... x q x 1`, at `value` (`... x q x
        1`)."""
        value = value.to(self.means).squeeze(-1).unsqueeze(-2)
        energy = (value - self.means).square() / self.variances + self.variances.log()
        joint = self.log_weights.unsqueeze(-1) - 0.5 * (energy + math.log(2 * math.pi))
        return joint.logsumexp(-2).unsqueeze(-1).to(self._dtype)

    # --- sampling -------------------------------------------------------------------------------

    @property
    def _batch(self) -> Size:
        return self.means.shape[:-2]

    @property
    def base_sample_shape(self) -> Size:
        return Size([*self._batch, self.means.shape[-1], 1])

    @property
    def batch_range(self) -> tuple[int, int]:
        return (0, -2)

    def _extended_shape(self, sample_shape: Size = Size()) -> Size:  # noqa: B008
        return Size([*sample_shape, *self.base_sample_shape])

    def rsample(self, sample_shape: Size | None = None) -> Tensor:
        """Samples, `sample_shape x ... x q x 1`, with gradients."""
        shape = Size([1]) if sample_shape is None else sample_shape
        base = torch.randn(self._extended_shape(shape), dtype=torch.float64, device=self.device)
        uniform = torch.rand(*shape, *self._batch, dtype=torch.float64, device=self.device)
        return self._transform(base, uniform)

    def rsample_from_base_samples(self, sample_shape: Size, base_samples: Tensor) -> Tensor:
        """Samples, `sample_shape x ... x q x 1`, from standard normal ones of that shape.

        The components are dealt out to the samples by a golden-ratio sequence, in proportion to
        their probabilities to within one sample, and alike for all points: acquisition values stay
        smooth.
        """
        count = sample_shape.numel()
        steps = torch.arange(1, count + 1, dtype=torch.float64, device=self.device)
        uniform = torch.frac(steps * _GOLDEN).reshape(*sample_shape, *[1] * len(self._batch))
        base = base_samples.to(torch.float64).expand(self._extended_shape(sample_shape))
        return self._transform(base, uniform.expand(*sample_shape, *self._batch))

    def _transform(self, base: Tensor, uniform: Tensor) -> Tensor:
        cumulative = self.weights.detach().cumsum(-1).clamp_max(1.0)
        cumulative[..., -1] = 1.0
        chosen = (uniform.unsqueeze(-1) > cumulative).sum(-1)  # sample_shape x ...
        roots = _root(self.component_covariances())
        one_hot = torch.nn.functional.one_hot(chosen, cumulative.shape[-1]).to(self.means)
        means = (one_hot.unsqueeze(-2) @ self.means).squeeze(-2)
        picked = self._pick(roots, chosen)
        return (means.unsqueeze(-1) + picked @ base).to(self._dtype)

    def _pick(self, roots: Tensor, chosen: Tensor) -> Tensor:
        """Each sample's root, `sample_shape x ... x q x q`, out of `... x C x q x q`."""
        q = roots.shape[-1]
        lead = chosen.dim() - len(self._batch)
        roots = roots.reshape(*[1] * lead, *roots.shape).expand(*chosen.shape, *roots.shape[-3:])
        index = chosen[..., None, None, None].expand(*chosen.shape, 1, q, q)
        return roots.gather(-3, index).squeeze(-3)


def _root(covariance: Tensor) -> Tensor:
    """Cholesky factors; with repeated points a matrix is singular and gets the jitter that it
    needs."""
    scale = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    for jitter in (1e-10, 1e-8, 1e-6, 1e-4):
        root, info = torch.linalg.cholesky_ex(covariance + jitter * scale * identity)
        if not bool(info.any()):
            return root
    raise ArithmeticError("a posterior covariance is not positive definite even with jitter 1e-4")


GetSampler.register(MixturePosterior)(_get_sampler_mvn)
