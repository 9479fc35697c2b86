r"""Expectation maximisation of the training tasks' marginal likelihood.

Task t enters only through the sufficient statistics of its likelihood as a function of the head w,

.. math:: \log p(y_t | w) = -\tfrac12 (c_t - 2 b_t \cdot w + w^\top G_t w),

so tasks may be ragged, short and noisy, and count for what they are worth: a component is fitted to
the posterior of w that each task's own observations allow, never to a least-squares head. With
:math:`w = m_k + R_k v`, :math:`v \sim N(0, I)`, all algebra is in the few dimensions r of the root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from metabo.cores import on_cores
from metabo.mixture.remainder import Remainder, whiten

_CHUNK_BYTES = 5 << 19  # of the tasks' posteriors at once: they stay in the cache of a core


@dataclass(frozen=True)
class EMSettings:
    """How a mixture is fitted.

    Attributes:
        iterations: EM steps at most.
        tolerance: Stop when the mean evidence of a task rises by less than this (nats).
        shrinkage: Pseudo-tasks that pull each component's covariance to the pooled one.
        base_shrinkage: Pseudo-tasks that pull the pooled covariance to an isotropic one.
        min_signal: Directions of w that change a task's log likelihood by less than this are
            dropped.
    """

    iterations: int = 20
    tolerance: float = 1e-2
    shrinkage: float = 0.5
    base_shrinkage: float = 1.0
    min_signal: float = 0.005


@dataclass(frozen=True, eq=False)
class HeadStatistics:
    """The log likelihood of T tasks, `-(energy - 2 projection w + w precision w) / 2`.

    Attributes:
        precision: `T x p x p`.
        projection: `T x p`.
        energy: `T`, the terms that do not depend on w, the normalising constant included.
    """

    precision: Tensor
    projection: Tensor
    energy: Tensor

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.energy.shape[0]

    @classmethod
    def of_tasks(
        cls,
        features: Tensor,
        inputs: Tensor,
        targets: Tensor,
        mask: Tensor,
        remainder: Remainder,
    ) -> HeadStatistics:
        """Summarise padded tasks.

        Args:
            features: `T x n x p`.
            inputs: `T x n x e`, encoded.
            targets: `T x n`, in model units.
            mask: `T x n` (bool), false where a row is padding.
            remainder: The kernel of what the features leave over, and the noise.
        """
        columns = torch.cat([features, targets.unsqueeze(-1)], -1)
        columns, constant = whiten(columns, remainder.covariance(inputs), remainder.noise, mask)
        white, y = columns[..., :-1], columns[..., -1:]
        energy = y.square().sum((-1, -2)) + constant
        return cls(white.mT @ white, (white.mT @ y).squeeze(-1), energy)

    def select(self, index: Tensor) -> HeadStatistics:
        """Those of the tasks at `index`."""
        return HeadStatistics(self.precision[index], self.projection[index], self.energy[index])

    def shifted(self, mean: Tensor, root: Tensor) -> HeadStatistics:
        """The statistics of `v` (r) in `w = mean + root v`; mean `p`, root `p x r`."""
        pull = self.precision @ mean
        energy = self.energy - 2 * self.projection @ mean + pull @ mean
        projected = (self.projection - pull) @ root
        return HeadStatistics(root.mT @ self.precision @ root, projected, energy)


@dataclass(frozen=True, eq=False)
class HeadPrior:
    """A mixture over heads: log weights `K`, means `K x p`, roots `K x p x r`."""

    log_weights: Tensor
    means: Tensor
    roots: Tensor


def fit_gaussian(statistics: HeadStatistics, start: HeadPrior, settings: EMSettings) -> HeadPrior:
    """The single Gaussian that explains the tasks best, its covariance shrunk to the start's."""
    start = _keep_signal(statistics, start, 0.01 * settings.min_signal)
    base = start.roots[0] @ start.roots[0].mT
    settings_one = EMSettings(**{**vars(settings), "shrinkage": settings.base_shrinkage})
    prior = _maximise(statistics, start, settings_one, base)
    return _keep_signal(statistics, prior, settings.min_signal)


def fit_mixture(
    statistics: HeadStatistics,
    gaussian: HeadPrior,
    num_components: int,
    settings: EMSettings,
    *,
    seed: int,
) -> HeadPrior:
    """A mixture of `num_components` Gaussians that explains the tasks best.

    Starts from a k-means clustering of the tasks' posterior heads under `gaussian` (the result of
    `fit_gaussian`), whose directions span the space in which the components live.
    """
    if num_components == 1:
        return gaussian
    mean, root = gaussian.means[0], gaussian.roots[0]
    inside = statistics.shifted(mean, root)
    rank = root.shape[-1]
    standard = HeadPrior(mean.new_zeros(1), mean.new_zeros(1, rank), torch.eye(rank).to(mean)[None])
    heads = expectation(inside, standard).center.squeeze(1)
    _, labels = kmeans2(heads.cpu().numpy(), num_components, minit="++", seed=seed, missing="warn")
    start = _from_labels(heads, torch.as_tensor(labels, device=heads.device).long(), num_components)
    fitted = _maximise(inside, start, settings, torch.eye(rank).to(mean))
    return HeadPrior(fitted.log_weights, mean + fitted.means @ root.mT, root @ fitted.roots)


def held_out_evidence(statistics: HeadStatistics, prior: HeadPrior) -> Tensor:
    """The log marginal likelihood `T` of tasks under a mixture that has not seen them."""
    return expectation(statistics, prior).evidence


def _maximise(
    statistics: HeadStatistics, prior: HeadPrior, settings: EMSettings, base: Tensor
) -> HeadPrior:
    previous = -math.inf
    for _ in range(settings.iterations):
        evidence, updated = _step(statistics, prior, settings, base)
        prior = updated
        if evidence - previous < settings.tolerance:
            break
        previous = evidence
    return prior


def _step(
    statistics: HeadStatistics, prior: HeadPrior, settings: EMSettings, base: Tensor
) -> tuple[float, HeadPrior]:
    """One EM step; returns the mean evidence *before* the step and the new prior."""
    count, components = statistics.num_tasks, len(prior.roots)
    total, mass, first, second = _moments(statistics, prior)
    shift = first / mass.clamp_min(1e-12)[:, None]
    inside = second - mass[:, None, None] * shift.unsqueeze(-1) * shift.unsqueeze(-2)
    scatter = prior.roots @ inside @ prior.roots.mT
    if components > 1:
        pull = settings.base_shrinkage
        base = (scatter.sum(0) + pull * base) / (count + pull)
    pull = settings.shrinkage
    covariance = (scatter + pull * base) / (mass + pull)[:, None, None]
    # The mean is itself uncertain, by 1 / mass of the covariance, as in a normal-inverse-Wishart.
    covariance = covariance * (1 + 1 / (mass + pull + 1))[:, None, None]
    weights = (mass + 0.5) / (count + 0.5 * components)
    means = prior.means + (prior.roots @ shift.unsqueeze(-1)).squeeze(-1)
    return float(total) / count, HeadPrior(weights.log(), means, _root(covariance))


def _moments(statistics: HeadStatistics, prior: HeadPrior) -> tuple[Tensor, ...]:
    """Sums over the tasks: evidence, shares `K`, and first and second moments of v."""

    def of(rows: Tensor) -> tuple[Tensor, ...]:
        found = expectation(statistics.select(rows), prior)
        shares, center = found.shares, found.center
        second = torch.einsum("tk,tkrs->krs", shares, found.covariance)
        second += torch.einsum("tk,tkr,tks->krs", shares, center, center)
        first = torch.einsum("tk,tkr->kr", shares, center)
        return found.evidence.sum(), shares.sum(0), first, second

    rows = torch.arange(statistics.num_tasks, device=prior.means.device)
    components, _, rank = prior.roots.shape
    chunk = max(_CHUNK_BYTES // (8 * components * rank**2), 8)
    parts = on_cores(of, rows.split(chunk))
    return tuple(torch.stack(values).sum(0) for values in zip(*parts, strict=True))


@dataclass(frozen=True, eq=False)
class HeadPosterior:
    """What T tasks say of v in `w = mean + root v`, component by component.

    Attributes:
        evidence: `T`, under the whole mixture.
        shares: `T x K`, the posterior probabilities of the components.
        center: `T x K x r`, the posterior mean of v ...
        covariance: `T x K x r x r`, ... and its covariance.
    """

    evidence: Tensor
    shares: Tensor
    center: Tensor
    covariance: Tensor


def expectation(statistics: HeadStatistics, prior: HeadPrior) -> HeadPosterior:
    """The E step, in closed form."""
    roots, means = prior.roots, prior.means
    pull = torch.einsum("tij,kj->tki", statistics.precision, means)
    gradient = torch.einsum("tki,kir->tkr", statistics.projection.unsqueeze(1) - pull, roots)
    information = _sandwich(roots, statistics.precision)
    information.diagonal(dim1=-2, dim2=-1).add_(1.0)
    factor = torch.linalg.cholesky(information)
    covariance = torch.cholesky_inverse(factor)
    center = (covariance @ gradient.unsqueeze(-1)).squeeze(-1)
    energy = statistics.energy.unsqueeze(1) - 2 * statistics.projection @ means.mT
    energy = energy + (pull * means).sum(-1) - (gradient * center).sum(-1)
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    joint = prior.log_weights - 0.5 * energy - log_determinant
    return HeadPosterior(joint.logsumexp(-1), joint.softmax(-1), center, covariance)


def _sandwich(roots: Tensor, precision: Tensor) -> Tensor:
    """`root_k^T precision_t root_k`, `T x K x r x r`, in two large products, not T x K small."""
    components, width, rank = roots.shape
    count = len(precision)
    flat = roots.transpose(0, 1).reshape(width, components * rank)
    right = (precision.reshape(count * width, width) @ flat).view(count, width, components, rank)
    right = right.permute(2, 1, 0, 3).reshape(components, width, count * rank)
    both = (roots.mT @ right).view(components, rank, count, rank)
    return both.permute(2, 0, 1, 3).contiguous()


def _from_labels(heads: Tensor, labels: Tensor, num_components: int) -> HeadPrior:
    one_hot = torch.nn.functional.one_hot(labels, num_components).to(heads)
    mass = one_hot.sum(0).clamp_min(1.0)
    means = (one_hot.mT @ heads) / mass[:, None]
    roots = 0.4 * torch.eye(heads.shape[-1]).to(heads).expand(num_components, -1, -1)
    return HeadPrior((mass / mass.sum()).log(), means, roots)


def _keep_signal(statistics: HeadStatistics, prior: HeadPrior, min_signal: float) -> HeadPrior:
    """Rotate a Gaussian's root to the directions that the data see, and cut the others."""
    root = prior.roots[0]
    seen = root.mT @ statistics.precision.mean(0) @ root
    signal, directions = torch.linalg.eigh(seen)
    return HeadPrior(
        prior.log_weights, prior.means, (root @ directions[:, signal > min_signal])[None]
    )


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(1e-12).sqrt().unsqueeze(-2)
