r"""The posterior of a mixture given one task's observations: again a mixture, in closed form.

Each component is conditioned as an exact Gaussian process by a Cholesky factorisation
[Rasmussen2006]_ (Algorithm 2.1), and the prior probabilities are multiplied by the components'
evidence,
:math:`\pi_k' \propto \pi_k\, N(y; \mu_k, K_k + \sigma_k^2 I)`.

.. [Rasmussen2006] C. E. Rasmussen, C. K. I. Williams. Gaussian Processes for Machine Learning. MIT
Press, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.mixture.components import Mixture

_JITTERS = (1e-10, 1e-8, 1e-6, 1e-4)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Each component's Gaussian at q points.

    Attributes:
        means: `... x C x q`.
        variances: `... x C x q`, of the noise-free function.
    """

    means: Tensor
    variances: Tensor
    _prior_covariance: tuple[Mixture, tuple[Tensor, Tensor]]
    _explained: Tensor  # ... x C x n x q: L^-1 k(X, x)

    def covariance(self) -> Tensor:
        """`... x C x q x q`, computed only when asked: the q points may be a whole table."""
        mixture, points = self._prior_covariance
        return mixture.covariance(points, points) - self._explained.mT @ self._explained

    def covariance_with(self, index: int) -> Tensor:
        """The covariance, `... x C x q`, of every point with the one at `index`."""
        mixture, (features, inputs) = self._prior_covariance
        one = slice(index, index + 1)
        anchor = (features[..., one, :], inputs[..., one, :])
        prior = mixture.covariance(anchor, (features, inputs)).squeeze(-2)
        explained = self._explained[..., one].mT @ self._explained
        return prior - explained.squeeze(-2)


@dataclass(frozen=True, eq=False)
class ConditionedMixture:
    """A mixture after n observations.

    Attributes:
        mixture: The prior.
        log_weights: `... x C`, the posterior log probabilities of the components.
        log_evidence: `...`, the log marginal likelihood of the observations under the whole
            mixture.
        jitter: The largest value that had to be added to a covariance's diagonal, relative to its
            mean.
    """

    mixture: Mixture
    log_weights: Tensor
    log_evidence: Tensor
    jitter: float
    _points: tuple[Tensor, Tensor]
    _factor: Tensor  # ... x C x n x n, the Cholesky factor of K + noise
    _residual: Tensor  # ... x C x n x 1, L^-1 (y - mean)

    def predict(self, features: Tensor, inputs: Tensor) -> Prediction:
        """Predict at features `... x q x p` and encoded inputs `... x q x e`."""
        points = (features, inputs)
        cross = self.mixture.covariance(self._points, points)
        explained = torch.linalg.solve_triangular(self._factor, cross, upper=False)
        means = self.mixture.mean(features) + (explained.mT @ self._residual).squeeze(-1)
        variances = self.mixture.variance(features) - explained.square().sum(-2)
        floor = 1e-10 * self.mixture.outputscales[:, None]
        return Prediction(means, variances.clamp_min(floor), (self.mixture, points), explained)

    def likely(self, keep: float = 1e-9) -> ConditionedMixture:
        """Without the components whose posterior probability is below `keep` in every batch."""
        probable = self.log_weights > math.log(keep)
        kept = probable.flatten(0, -2).any(0) if probable.dim() > 1 else probable
        if bool(kept.all()):
            return self
        return ConditionedMixture(
            mixture=self.mixture.select(kept),
            log_weights=self.log_weights[..., kept].log_softmax(-1),
            log_evidence=self.log_evidence,
            jitter=self.jitter,
            _points=self._points,
            _factor=self._factor[..., kept, :, :],
            _residual=self._residual[..., kept, :, :],
        )


def condition(
    mixture: Mixture,
    features: Tensor,
    inputs: Tensor,
    targets: Tensor,
    noise: Tensor | None = None,
) -> ConditionedMixture:
    """Condition a mixture on one task's observations (or a batch of tasks').

    Args:
        mixture: The prior, C components.
        features: `... x n x p`; n may be 0.
        inputs: `... x n x e`, encoded.
        targets: `... x n`, in model units.
        noise: `... x n`, known noise variances in model units; the learned noise if None.
    """
    points = (features, inputs)
    covariance = mixture.covariance(points, points)
    if noise is None:
        diagonal = mixture.noises[:, None].expand(covariance.shape[:-1])
    else:
        diagonal = noise.unsqueeze(-2).expand(covariance.shape[:-1])
    factor, jitter = _cholesky(covariance + torch.diag_embed(diagonal))
    deviation = (targets.unsqueeze(-2) - mixture.mean(features)).unsqueeze(-1)
    residual = torch.linalg.solve_triangular(factor, deviation, upper=False)
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = targets.shape[-1] * math.log(2 * math.pi)
    evidence = -0.5 * (residual.square().sum((-1, -2)) + log_determinant + constant)
    joint = mixture.log_weights + evidence
    return ConditionedMixture(
        mixture=mixture,
        log_weights=joint.log_softmax(-1),
        log_evidence=joint.logsumexp(-1),
        jitter=jitter,
        _points=points,
        _factor=factor,
        _residual=residual,
    )


def _cholesky(matrix: Tensor) -> tuple[Tensor, float]:
    """Cholesky factors of `... x n x n`, with the least jitter needed, and that jitter."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    if not bool(info.any()):
        return factor, 0.0
    scale = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for jitter in _JITTERS:
        added = torch.where(info > 0, jitter * scale, torch.zeros_like(scale))
        factor, failed = torch.linalg.cholesky_ex(matrix + added[..., None, None] * identity)
        if not bool(failed.any()):
            return factor, jitter
        info = info | failed
    raise ArithmeticError(
        "a covariance matrix is not positive definite even with a jitter of 1e-4 of its diagonal: "
        "check the observations for values that are not finite"
    )
