r"""The E step: what tasks say of each component's head, in closed form.

With :math:`w = m_k + R_k v`, :math:`v \sim N(0, I)`, and the statistics :math:`b_t, G_t` of a task,

.. math::
    A = I + R_k^\top G_t R_k, \quad v | t, k \sim N(A^{-1} g, A^{-1}), \quad
    g = R_k^\top (b_t - G_t m_k),

so all algebra is in the few dimensions r of the root. A task can come from few of many components:
only those *pairs* of task and component are asked that matter [Luecke2010]_.

.. [Luecke2010] J. Luecke, J. Eggert. Expectation Truncation and the Benefits of Preselection in
    Training Generative Models. Journal of Machine Learning Research 11, 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.cores import on_cores, part_size
from metabo.mixture import e_step
from metabo.mixture.statistics import HeadPrior, HeadStatistics

_TASKS = 1024  # whose likely components are found at once
_PAIRS = 2048  # compiled, at once
_CHUNK_BYTES = 5 << 19  # else: of the pairs' posteriors at once: they stay in the cache of a core


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a task and a component that it may come from, in the order of the tasks.

    Attributes:
        task: `P`, from 0 to T - 1, each at least once.
        component: `P`.
    """

    task: Tensor
    component: Tensor

    @classmethod
    def every(cls, tasks: int, components: int, device: torch.device) -> Pairs:
        """Each task with each component."""
        return cls.where(torch.ones(tasks, components, dtype=torch.bool, device=device))

    @classmethod
    def where(cls, mask: Tensor) -> Pairs:
        """Those marked in a `T x K` mask."""
        task, component = mask.nonzero(as_tuple=True)
        return cls(task, component)

    def select(self, rows: Tensor) -> Pairs:
        """The pairs at `rows`."""
        return Pairs(self.task[rows], self.component[rows])

    def union(self, other: Pairs) -> Pairs:
        """The pairs that are in either."""
        components = int(max(self.component.max(), other.component.max())) + 1
        both = [pairs.task * components + pairs.component for pairs in (self, other)]
        keys = torch.cat(both).unique()
        return Pairs(keys // components, keys % components)

    def split(self, size: int) -> list[Pairs]:
        """Parts of about `size` pairs; those of one task stay together."""
        first = torch.searchsorted(self.task, self.task)
        counts = (first // size).unique_consecutive(return_counts=True)[1].tolist()
        tasks, components = self.task.split(counts), self.component.split(counts)
        return [Pairs(t, k) for t, k in zip(tasks, components, strict=True)]


@dataclass(frozen=True, eq=False)
class HeadPosterior:
    """What tasks say of v in `w = mean + root v`, pair by pair.

    Attributes:
        evidence: `T`, under the whole mixture.
        shares: `P`, the posterior probabilities of the components.
        center: `P x r`, the posterior mean of v ...
        covariance: `P x r x r`, ... and its covariance.
    """

    evidence: Tensor
    shares: Tensor
    center: Tensor
    covariance: Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the tasks.

    Attributes:
        evidence: 0-d.
        mass: `K`, of the shares.
        first: `K x r`, of v ...
        second: `K x r x r`, ... and of its square.
    """

    evidence: Tensor
    mass: Tensor
    first: Tensor
    second: Tensor


def expectation(statistics: HeadStatistics, prior: HeadPrior, pairs: Pairs) -> HeadPosterior:
    """The E step, as if no pairs but these were possible."""
    root, mean = prior.roots[pairs.component], prior.means[pairs.component]
    precision, projection = statistics.precision[pairs.task], statistics.projection[pairs.task]
    pull = (precision @ mean.unsqueeze(-1)).squeeze(-1)
    gradient = root.mT @ (projection - pull).unsqueeze(-1)
    information = root.mT @ (precision @ root)
    information.diagonal(dim1=-2, dim2=-1).add_(1.0)
    factor = torch.linalg.cholesky(information)
    covariance = torch.cholesky_inverse(factor)
    center = covariance @ gradient
    energy = statistics.energy[pairs.task] + ((pull - 2 * projection) * mean).sum(-1)
    energy = energy - (gradient * center).sum((-1, -2))
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    joint = prior.log_weights[pairs.component] - 0.5 * energy - log_determinant
    evidence, place = _logsumexp(joint, pairs.task)
    return HeadPosterior(evidence, (joint - evidence[place]).exp(), center.squeeze(-1), covariance)


def moments(statistics: HeadStatistics, prior: HeadPrior, pairs: Pairs) -> tuple[Moments, Tensor]:
    """What the M step needs, on all cores, and the shares `P` of the pairs."""
    components, _, rank = prior.roots.shape

    def compiled(part: Pairs) -> tuple[Tensor, ...]:
        return e_step.sum_over_pairs(
            (part.task, part.component),
            (statistics.precision, statistics.projection, statistics.energy),
            (prior.log_weights, prior.means, prior.roots),
        )

    def of(part: Pairs) -> tuple[Tensor, ...]:
        found = expectation(statistics, prior, part)
        heads = found.center.unsqueeze(-1)
        square = torch.baddbmm(found.covariance, heads, heads.mT)
        sums = (
            torch.zeros(components, *value.shape[1:]).to(value).index_add_(0, part.component, value)
            for value in (
                found.shares,
                found.shares[:, None] * found.center,
                found.shares[:, None, None] * square,
            )
        )
        return found.evidence.sum(), *sums, found.shares

    size = part_size(max(_CHUNK_BYTES // (8 * max(rank, 1) ** 2), 8), prior.roots.device)
    if e_step.can_run(prior.roots):
        of, size = compiled, _PAIRS
    parts = on_cores(of, pairs.split(size))
    *columns, shares = zip(*parts, strict=True)
    return Moments(*(torch.stack(values).sum(0) for values in columns)), torch.cat(shares)


def likely_pairs(statistics: HeadStatistics, prior: HeadPrior, count: int) -> Pairs:
    r"""Each task with the `count` components that it is likeliest to come from, or with all.

    They are judged by the evidence that a task would have if all tasks said equally much of their
    heads: where heads are standard normal, :math:`G_t = G`, with :math:`(I + G)^{-1}` the mean of
    the tasks'. So one matrix a component is factorised, not one a pair.
    """
    if len(prior.roots) <= count:
        return Pairs.every(statistics.num_tasks, len(prior.roots), prior.means.device)
    precision, projection, inside = _whitened(statistics, prior)
    roots, means = inside.roots, inside.means
    identity = torch.eye(roots.shape[-1]).to(roots)
    factor = torch.linalg.cholesky(identity + roots.mT @ precision @ roots)
    white = torch.linalg.solve_triangular(factor, roots.mT, upper=False)
    pull = means @ precision
    constant = inside.log_weights - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def of(part: Tensor) -> Tensor:
        # With g = R^T (b - G m), the energy is (m^T G - 2 b) m - |L^-1 g|^2.
        sides = [((part - p) @ w.mT).square().sum(-1) for p, w in zip(pull, white, strict=True)]
        energy = (pull * means).sum(-1) - 2 * part @ means.mT - torch.stack(sides, -1)
        return constant - 0.5 * energy

    score = torch.cat(on_cores(of, projection.split(part_size(_TASKS, projection.device))))
    best = score.topk(count, -1).indices
    return Pairs.where(torch.zeros_like(score, dtype=torch.bool).scatter_(1, best, True))


def _whitened(statistics: HeadStatistics, prior: HeadPrior) -> tuple[Tensor, Tensor, HeadPrior]:
    """In coordinates where heads are standard normal: common precision, projections and prior."""
    weights = prior.log_weights.softmax(-1)
    mean = weights @ prior.means
    sides = torch.cat([prior.roots, (prior.means - mean).unsqueeze(-1)], -1)
    values, vectors = torch.linalg.eigh(torch.einsum("k,kpr,kqr->pq", weights, sides, sides))
    real = values > 1e-10 * values[-1]
    values, vectors = values[real], vectors[:, real]
    inverse = (vectors / values.sqrt()).mT
    inside = statistics.shifted(mean, vectors * values.sqrt())
    identity = torch.eye(len(values)).to(values)
    own = torch.linalg.inv(identity + inside.precision)
    heads = (own @ inside.projection.unsqueeze(-1)).squeeze(-1)
    certainty = torch.linalg.inv(own.mean(0))
    whitened = HeadPrior(
        prior.log_weights, (prior.means - mean) @ inverse.mT, inverse @ prior.roots
    )
    return certainty - identity, heads @ certainty, whitened


def _logsumexp(joint: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pairs of each task; and of each pair, the place of its task among them."""
    place, counts = task.unique_consecutive(return_inverse=True, return_counts=True)[1:]
    largest = joint.new_full(counts.shape, -torch.inf).scatter_reduce_(0, place, joint, "amax")
    total = torch.zeros_like(largest).index_add_(0, place, (joint - largest[place]).exp())
    return largest + total.log(), place
