r"""Functions drawn from a mixture's posterior, to be evaluated and differentiated anywhere.

A component is drawn by its posterior probability, then a function of its prior: the head's weights
exactly, the remainder by random Fourier features [Rahimi2007]_. Matheron's rule [Wilson2021]_ makes
a draw of the posterior out of it. With :math:`\tilde w` and :math:`\tilde h` from the prior,

.. math::
    f(x) = \phi(x) \cdot (\tilde w + R R^\top \Phi^\top a) + A(x)
        \big( \tilde h(x) + k(x, X) (A(X) \odot a) \big), \quad
    a = (K + \Sigma)^{-1} (y - \tilde f(X) - e), \quad e \sim N(0, \Sigma)

where A is the amplitude of the remainder and :math:`\Sigma` the noise.

.. [Rahimi2007] A. Rahimi, B. Recht. Random Features for Large-Scale Kernel Machines. Advances in
   Neural Information Processing Systems 20, 2007.
.. [Wilson2021] J. Wilson, V. Borovitskiy, A. Terenin, P. Mostowsky, M. Deisenroth. Pathwise
   Conditioning of Gaussian Processes. Journal of Machine Learning Research 22, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Size, Tensor

from metabo.mixture.components import Mixture, amplitude, matern52
from metabo.mixture.conditioning import ConditionedMixture

_FREQUENCIES = 512  # of a remainder
_NU = 2.5  # of its Matern kernel, whose spectral density is Student's with 2 nu degrees of freedom
_AT_ONCE = 1 << 24  # numbers; more than a few points of many functions would be gigabytes


@dataclass(frozen=True, eq=False)
class Paths:
    """Functions in model units, `s` of them: `...` may be several dimensions.

    Attributes:
        components: `s`, the component that each is of.
        heads: `s x p`.
        scales: `s`, of the remainder ...
        amplitudes: `s x p`, ... and the head of the logarithm of its amplitude.
        lengthscales: `s x e`, of its kernel ...
        trends: `s x p`, ... and the head of the kernel's further input.
        frequencies: `s x M x (e + 1)`.
        waves: `s x 2 M`, the weights of their sines and cosines.
        centers: `s x n x (e + 1)`, what the kernel sees of the observations ...
        bumps: `s x n`, ... and what each adds around it.
    """

    components: Tensor
    heads: Tensor
    scales: Tensor
    amplitudes: Tensor
    lengthscales: Tensor
    trends: Tensor
    frequencies: Tensor
    waves: Tensor
    centers: Tensor
    bumps: Tensor

    def __call__(self, features: Tensor, inputs: Tensor) -> Tensor:
        """The values, `... x s x q`, at features `... x q x p` and encoded inputs `... x q x e`.

        Dimensions before q are the functions' own, or go before them.
        """
        rows = max(_AT_ONCE // self.waves.numel(), 1)
        parts = zip(features.split(rows, -2), inputs.split(rows, -2), strict=True)
        return torch.cat([self._at(*part) for part in parts], -1)

    def _at(self, features: Tensor, inputs: Tensor) -> Tensor:
        seen = self.seen(features, inputs)
        phases = seen @ self.frequencies.mT
        waves = _dot(torch.cat([phases.sin(), phases.cos()], -1), self.waves)
        bumps = _dot(matern52(seen, self.centers, torch.ones(1).to(seen)), self.bumps)
        return _dot(features, self.heads) + self.amplitude(features) * (waves + bumps)

    def amplitude(self, features: Tensor) -> Tensor:
        """Of the remainder, `... x s x q`."""
        return self.scales.unsqueeze(-1) * amplitude(_dot(features, self.amplitudes))

    def seen(self, features: Tensor, inputs: Tensor) -> Tensor:
        """What the kernels see, `... x s x q x (e + 1)`."""
        trend = _dot(features, self.trends).unsqueeze(-1)
        scaled = inputs / self.lengthscales.unsqueeze(-2)
        return torch.cat([scaled, trend.expand(*scaled.shape[:-1], 1)], -1)


def draw_paths(posterior: ConditionedMixture, sample_shape: Size) -> Paths:
    """Functions from the posterior, `sample_shape x ...`, by PyTorch's global generator.

    The remainder's part is approximate between the observations: it is of 512 frequencies.
    """
    components = torch.distributions.Categorical(logits=posterior.log_weights).sample(sample_shape)
    prior = _draw_prior(posterior.mixture, components)
    return _conditioned(prior, posterior)


def _draw_prior(mixture: Mixture, components: Tensor) -> Paths:
    means, roots = mixture.means[components], mixture.roots[components]
    lengthscales = mixture.lengthscales[components]
    shape, seen = components.shape, lengthscales.shape[-1] + 1
    own = torch.randn(*shape, roots.shape[-1], 1).to(means)
    normal = torch.randn(*shape, _FREQUENCIES, seen).to(means)
    half = torch.full((*shape, _FREQUENCIES, 1), _NU).to(means)
    waves = torch.randn(*shape, 2 * _FREQUENCIES).to(means)
    return Paths(
        components=components,
        heads=means + (roots @ own).squeeze(-1),
        scales=mixture.outputscales[components].sqrt(),
        amplitudes=mixture.amplitudes[components],
        lengthscales=lengthscales,
        trends=mixture.trends[components],
        frequencies=normal / torch.distributions.Gamma(half, half).sample().sqrt(),
        waves=waves / _FREQUENCIES**0.5,
        centers=means.new_zeros(*shape, 0, seen),
        bumps=means.new_zeros(*shape, 0),
    )


def _conditioned(prior: Paths, posterior: ConditionedMixture) -> Paths:
    """Matheron's rule."""
    (features, inputs), mixture, components = posterior.points, posterior.mixture, prior.components
    factor = _of_each(posterior.factor, components, 2)
    residual = _of_each(posterior.residual, components, 2)
    mean = _of_each(mixture.mean(features), components, 1)
    # What the factor was made of, jitter and known noise included.
    noise = factor.square().sum(-1) - _of_each(mixture.variance(features), components, 1)
    drawn = prior(features, inputs) + torch.randn_like(noise) * noise.clamp_min(0.0).sqrt()
    white = torch.linalg.solve_triangular(factor, (drawn - mean).unsqueeze(-1), upper=False)
    weights = torch.linalg.solve_triangular(factor.mT, residual - white, upper=True)
    roots = mixture.roots[components]
    change = roots @ (roots.mT @ (features.mT @ weights))
    return replace(
        prior,
        heads=prior.heads + change.squeeze(-1),
        centers=prior.seen(features, inputs),
        bumps=prior.amplitude(features) * weights.squeeze(-1),
    )


def _of_each(values: Tensor, components: Tensor, dims: int) -> Tensor:
    """Of `... x C x *`, with so many dimensions after C, those of each function's component."""
    index = components[(..., *[None] * (dims + 1))]
    return (
        values.expand(*components.shape, *values.shape[-dims - 1 :])
        .take_along_dim(index, -dims - 1)
        .squeeze(-dims - 1)
    )


def _dot(rows: Tensor, weights: Tensor) -> Tensor:
    """`... x q` of `... x q x m` and `... x m`."""
    return (rows @ weights.unsqueeze(-1)).squeeze(-1)
