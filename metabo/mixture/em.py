r"""Expectation maximisation of the training tasks' marginal likelihood.

Task t enters only through the sufficient statistics of its likelihood as a function of the head w,

.. math:: \log p(y_t | w) = -\tfrac12 (c_t - 2 b_t \cdot w + w^\top G_t w),

so tasks may be ragged, short and noisy, and count for what they are worth: a component is fitted to
the posterior of w that each task's own observations allow, never to a least-squares head. With
:math:`w = m_k + R_k v`, :math:`v \sim N(0, I)`, all algebra is in the few dimensions r of the root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from metabo.cores import on_cores, part_size
from metabo.mixture.expectation import Moments, Pairs, expectation, likely_pairs, moments
from metabo.mixture.statistics import HeadPrior, HeadStatistics

_LOOK_EVERY = 3  # EM steps from one choice of the pairs of tasks and components to the next ...
_NEGLIGIBLE = 1e-4  # ... between which those of a smaller share are left out
_PAIRS = 512  # whose left-out evidence is found at once


@dataclass(frozen=True)
class EMSettings:
    """How a mixture is fitted.

    Attributes:
        iterations: EM steps at most.
        tolerance: Stop when the mean evidence of a task rises by less than this a step (nats).
        shrinkage: Pseudo-tasks that pull each component's covariance to the pooled one.
        base_shrinkage: Pseudo-tasks that pull the pooled covariance to an isotropic one.
        min_signal: Directions of w that change a task's log likelihood by less than this are
            dropped.
        nearest: An E step is over so many components a task, the likeliest, if there are more.
    """

    iterations: int = 20
    tolerance: float = 1e-2
    shrinkage: float = 0.5
    base_shrinkage: float = 1.0
    min_signal: float = 0.005
    nearest: int = 8


def fit_gaussian(statistics: HeadStatistics, start: HeadPrior, settings: EMSettings) -> HeadPrior:
    """The single Gaussian that explains the tasks best, its covariance shrunk to the start's."""
    start = _keep_signal(statistics, start, 0.01 * settings.min_signal)
    base = start.roots[0] @ start.roots[0].mT
    settings_one = replace(settings, shrinkage=settings.base_shrinkage)
    prior = _maximise(statistics, start, settings_one, base)
    return _keep_signal(statistics, prior, settings.min_signal)


def fit_mixture(
    statistics: HeadStatistics,
    gaussian: HeadPrior,
    num_components: int,
    settings: EMSettings,
    *,
    seed: int,
    start: HeadPrior | None = None,
) -> HeadPrior:
    """A mixture of `num_components` Gaussians that explains the tasks best.

    The directions of `gaussian` (the result of `fit_gaussian`) span the space in which the
    components live. They start from a k-means clustering of the tasks' posterior heads under it, or
    from `start`, a mixture that was fitted to much the same statistics.
    """
    if num_components == 1:
        return gaussian
    mean, root = gaussian.means[0], gaussian.roots[0]
    inside = statistics.shifted(mean, root)
    rank = root.shape[-1]
    begin = (
        _by_k_means(inside, num_components, seed) if start is None else _within(start, mean, root)
    )
    fitted = _maximise(inside, begin, settings, torch.eye(rank).to(mean))
    return HeadPrior(fitted.log_weights, mean + fitted.means @ root.mT, root @ fitted.roots)


def held_out_evidence(statistics: HeadStatistics, prior: HeadPrior) -> Tensor:
    """The log marginal likelihood `T` of tasks under a mixture that has not seen them."""
    every = Pairs.every(statistics.num_tasks, len(prior.roots), prior.means.device)
    parts = every.split(part_size(_PAIRS, prior.means.device))
    return torch.cat(on_cores(lambda part: expectation(statistics, prior, part).evidence, parts))


def _maximise(
    statistics: HeadStatistics, prior: HeadPrior, settings: EMSettings, base: Tensor
) -> HeadPrior:
    tasks, previous = statistics.num_tasks, -math.inf
    every = 1 if len(prior.roots) == 1 else _LOOK_EVERY
    pairs = likely_pairs(statistics, prior, settings.nearest)
    for step in range(settings.iterations):
        look = step % every == 0
        if look and step > 0:
            pairs = pairs.union(likely_pairs(statistics, prior, settings.nearest))
        found, shares = moments(statistics, prior, pairs)
        prior = _updated(prior, found, tasks, settings, base)
        pairs = pairs.select(shares > _NEGLIGIBLE)
        evidence = float(found.evidence) / tasks
        if look and evidence - previous < every * settings.tolerance:
            break
        previous = evidence if look else previous
    return prior


def _updated(
    prior: HeadPrior, found: Moments, count: int, settings: EMSettings, base: Tensor
) -> HeadPrior:
    """The M step over `count` tasks: covariances shrunk to the pooled one, and that to `base`."""
    mass, components = found.mass, len(prior.roots)
    shift = found.first / mass.clamp_min(1e-12)[:, None]
    inside = found.second - mass[:, None, None] * shift.unsqueeze(-1) * shift.unsqueeze(-2)
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
    return HeadPrior(weights.log(), means, _root(covariance))


def _by_k_means(inside: HeadStatistics, num_components: int, seed: int) -> HeadPrior:
    """Clusters of the tasks' posterior heads, where those of all tasks are standard normal."""
    root = torch.eye(inside.projection.shape[-1]).to(inside.projection)
    standard = HeadPrior(root.new_zeros(1), root.new_zeros(1, len(root)), root[None])
    alone = Pairs.every(inside.num_tasks, 1, root.device)
    heads = expectation(inside, standard, alone).center
    count = min(num_components, len(heads.unique(dim=0)))
    _, labels = kmeans2(heads.cpu().numpy(), count, minit="++", seed=seed, missing="warn")
    return _from_labels(heads, torch.as_tensor(labels, device=root.device).long(), num_components)


def _within(prior: HeadPrior, mean: Tensor, root: Tensor) -> HeadPrior:
    """A mixture over w as one over v in `w = mean + root v`, by least squares."""
    inverse = torch.linalg.pinv(root)
    return HeadPrior(prior.log_weights, (prior.means - mean) @ inverse.mT, inverse @ prior.roots)


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
    kept = signal > min_signal
    kept[-1] = True  # a head that nothing tells apart has a direction all the same
    return HeadPrior(prior.log_weights, prior.means, (root @ directions[:, kept])[None])


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(1e-12).sqrt().unsqueeze(-2)
