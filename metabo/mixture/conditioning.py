r"""The posterior of a mixture given one task's observations: again a mixture, in closed form.

Each component is conditioned as an exact Gaussian process by a Cholesky factorisation
[Rasmussen2006]_ (Algorithm 2.1), and the prior probabilities are multiplied by the components'
evidence, :math:`\pi_k' \propto \pi_k\, N(y; \mu_k, K_k + \sigma_k^2 I)`.

.. [Rasmussen2006] C. E. Rasmussen, C. K. I. Williams. Gaussian Processes for Machine Learning. MIT
   Press, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from metabo.mixture.components import Mixture

JITTERS = (1e-10, 1e-8, 1e-6, 1e-4)
# Of a posterior variance, as a share of the prior's: rounding makes it negative.
VARIANCE_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class Marginals:
    """Each component's Gaussians at q points one by one.

    Attributes:
        means: `... x C x q`.
        variances: `... x C x q`.
    """

    means: Tensor
    variances: Tensor

    def covariance(self) -> Tensor:
        """`... x C x q x q`."""
        return torch.diag_embed(self.variances)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Each component's joint Gaussians of one point and a reference, for q points.

    Attributes:
        means: `C x q`.
        variances: `C x q`.
        shared: `C x q`, the covariances with the reference.
        reference: Of the one point that all are compared with, `C x 1`.
    """

    means: Tensor
    variances: Tensor
    shared: Tensor
    reference: Marginals


@dataclass(frozen=True, eq=False)
class Prediction:
    """Each component's joint Gaussian at q points.

    Attributes:
        means: `... x C x q`.
        variances: `... x C x q`, of the noise-free function.
        explained: `... x C x n x q`, L^-1 k(X, x).
    """

    means: Tensor
    variances: Tensor
    explained: Tensor
    _mixture: Mixture
    _points: tuple[Tensor, Tensor]

    def covariance(self, rows: slice = slice(None)) -> Tensor:
        """The covariance, `... x C x r x q`, of some of the points with all, when it is asked for.

        The q points may be a whole table, and most users need no more than the variances.
        """
        features, inputs = self._points
        some = features[..., rows, :], inputs[..., rows, :]
        prior = self._mixture.covariance(some, self._points)
        return prior - self.explained[..., rows].mT @ self.explained


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
        points: The observations' features `... x n x p` and encoded inputs `... x n x e`.
        factor: `... x C x n x n`, L, the Cholesky factor of K + noise; without the batch dimensions
            that only the targets have, as those of fantasies.
        residual: `... x C x n x 1`, L^-1 (y - mean).
    """

    mixture: Mixture
    log_weights: Tensor
    log_evidence: Tensor
    jitter: float
    points: tuple[Tensor, Tensor]
    factor: Tensor
    residual: Tensor

    def predict(self, features: Tensor, inputs: Tensor) -> Prediction:
        """Predict at features `... x q x p` and encoded inputs `... x q x e`."""
        points = features, inputs
        side = features.shape[: max(features.dim() + 1 - self.factor.dim(), 0)]
        if side:
            # One factor serves all batches: one solve with their points side by side is far faster.
            features, inputs = _aside(features, len(side)), _aside(inputs, len(side))
        cross = self.mixture.covariance(self.points, (features, inputs))
        explained = torch.linalg.solve_triangular(self.factor, cross, upper=False)
        means = self.mixture.mean(features)
        variances = self.mixture.variance(features)
        variances = (variances - explained.square().sum(-2)).clamp_min(
            VARIANCE_FLOOR * variances.detach()
        )
        alike = self.residual.dim() == self.factor.dim()
        if alike:
            means = means + (explained.mT @ self.residual).squeeze(-1)
        if side:
            means, variances, explained = (
                _to_front(value, (*side, points[0].shape[-2]))
                for value in (means, variances, explained)
            )
        if not alike:
            means = means + self._weighted(explained)
        return Prediction(means, variances, explained, self.mixture, points)

    def _weighted(self, explained: Tensor) -> Tensor:
        """What the residual adds to means, `... x C x q`, by `... x C x n x q`."""
        found = _for_each(partial(torch.matmul, explained.mT), self.residual, explained.dim())
        return found.squeeze(-1)

    def compare(
        self, reference: tuple[Tensor, Tensor], points: tuple[Tensor, Tensor]
    ) -> Comparison:
        """Predict at q points and at one other, each features and encoded inputs."""
        features, inputs = (torch.cat(pair) for pair in zip(reference, points, strict=True))
        found = self.predict(features, inputs)
        shared = found.covariance(slice(0, 1)).squeeze(-2)
        return Comparison(
            means=found.means[..., 1:],
            variances=found.variances[..., 1:],
            shared=shared[..., 1:],
            reference=Marginals(found.means[..., :1], found.variances[..., :1]),
        )

    def heads(self) -> tuple[Tensor, Tensor]:
        """The posterior of v in each component's head, `w = mean + root v`.

        Returns:
            Means, `... x C x r`, and covariances, `... x C x r x r`.
        """
        seen = self.points[0].unsqueeze(-3) @ self.mixture.roots
        explained = torch.linalg.solve_triangular(self.factor, seen, upper=False)
        means, identity = self._weighted(explained), torch.eye(seen.shape[-1]).to(seen)
        covariances = identity - explained.mT @ explained
        return means, covariances.expand(*means.shape, -1)

    def leave_one_out(self) -> tuple[Tensor, Marginals]:
        r"""What the other n - 1 observations say of each one [Rasmussen2006]_ (equation 5.12).

        With :math:`\alpha = (K + \sigma^2 I)^{-1} (y - \mu)` and :math:`v_i` the reciprocal of that
        inverse's diagonal, observation i given the others is :math:`N(y_i - \alpha_i v_i, v_i)`;
        its density is taken out of the weights.

        Returns:
            The log weights, `... x n x C`, and the noisy observations' Gaussians,
            `... x n x C x 1`.
        """
        identity = torch.eye(self.factor.shape[-1]).to(self.factor)
        inverse = torch.linalg.solve_triangular(self.factor, identity, upper=False)
        variances = inverse.square().sum(-2).reciprocal()  # ... x C x n
        gap = self._weighted(inverse) * variances
        observed = self.mixture.mean(self.points[0]) + self._weighted(self.factor.mT)
        density = -0.5 * (gap.square() / variances + (2 * math.pi * variances).log())
        log_weights = (self.log_weights.unsqueeze(-1) - density).mT.log_softmax(-1)
        return log_weights, Marginals((observed - gap).mT.unsqueeze(-1), variances.mT.unsqueeze(-1))

    def likely(self, keep: float = 1e-9) -> ConditionedMixture:
        """Without the components whose posterior probability is below `keep` in every batch."""
        kept = self.is_likely(keep)
        return self if bool(kept.all()) else self.select(kept)

    def is_likely(self, keep: float = 1e-9) -> Tensor:
        """`C` (bool), false for those components."""
        probable = self.log_weights > math.log(keep)
        return probable.flatten(0, -2).any(0) if probable.dim() > 1 else probable

    def select(self, index: Tensor) -> ConditionedMixture:
        """The components at `index` (long or bool), their weights normalised."""
        return ConditionedMixture(
            mixture=self.mixture.select(index),
            log_weights=self.log_weights[..., index].log_softmax(-1),
            log_evidence=self.log_evidence,
            jitter=self.jitter,
            points=self.points,
            factor=self.factor[..., index, :, :],
            residual=self.residual[..., index, :, :],
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
        noise: `... x n`, known noise variances in model units; the learned noise if None, or where
            it is NaN.

    Raises:
        ArithmeticError: If a covariance has no Cholesky factor.
        ValueError: If the observations are impossible under every component.
    """
    points = (features, inputs)
    covariance = mixture.covariance(points, points)
    diagonal = mixture.noises[:, None].expand(covariance.shape[:-1])
    if noise is not None:
        diagonal = torch.where(noise.isnan().unsqueeze(-2), diagonal, noise.unsqueeze(-2))
    factor, jitter = _cholesky(covariance + torch.diag_embed(diagonal))
    deviation = (targets.unsqueeze(-2) - mixture.mean(features)).unsqueeze(-1)
    residual = _for_each(partial(_solve, factor), deviation, factor.dim())
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = targets.shape[-1] * math.log(2 * math.pi)
    evidence = -0.5 * (residual.square().sum((-1, -2)) + log_determinant + constant)
    joint = mixture.log_weights + evidence
    log_evidence = joint.logsumexp(-1)
    if not bool(log_evidence.isfinite().all()):
        raise ValueError(
            "the evidence of the observations is not finite: a value or a noise variance is "
            "missing, infinite, or too large for this prior's scale"
        )
    return ConditionedMixture(
        mixture=mixture,
        log_weights=joint.log_softmax(-1),
        log_evidence=log_evidence,
        jitter=jitter,
        points=points,
        factor=factor,
        residual=residual,
    )


def _for_each(function: Callable[[Tensor], Tensor], values: Tensor, dims: int) -> Tensor:
    """A linear function of columns, `... x n x 1`, which may have batch dimensions of their own.

    Those beyond `dims` dimensions are put side by side: the function's matrix is not copied.
    """
    own = values.shape[: max(values.dim() - dims, 0)]
    if not own:
        return function(values)
    columns = values.flatten(0, len(own) - 1).movedim(0, -1).squeeze(-2)
    return function(columns).movedim(-1, 0).unflatten(0, own).unsqueeze(-1)


def _solve(factor: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(factor, right, upper=False)


def _aside(value: Tensor, count: int) -> Tensor:
    """Put the first batch dimensions of `s x ... x q x p` next to the points: `... x (s q) x p`."""
    moved = value.movedim(tuple(range(count)), tuple(range(-2 - count, -2)))
    return moved.flatten(-2 - count, -2)


def _to_front(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Turn `... x (b q)` into `b x ... x q`, where b may be several dimensions."""
    lead, batch = value.dim() - 1, len(shape) - 1
    value = value.unflatten(-1, shape)
    return value.movedim(tuple(range(lead, lead + batch)), tuple(range(batch)))


def _cholesky(matrix: Tensor) -> tuple[Tensor, float]:
    """Cholesky factors of `... x n x n`, with the least jitter needed, and that jitter."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    if not bool(info.any()):
        return factor, 0.0
    scale = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for jitter in JITTERS:
        added = torch.where(info > 0, jitter * scale, torch.zeros_like(scale))
        factor, failed = torch.linalg.cholesky_ex(matrix + added[..., None, None] * identity)
        if not bool(failed.any()):
            return factor, jitter
        info = info | failed
    raise ArithmeticError(
        "a covariance matrix is not positive definite even with a jitter of 1e-4 of its diagonal: "
        "check the observations for values that are not finite"
    )
