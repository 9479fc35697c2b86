r"""The joint mixture over heads and a family's shape parameters.

In component k the head is :math:`w = m_k + R_k v`, :math:`v \sim N(0, I)`, and the parameters, each
as its place u between the ends of its range (0 to 1), are linear in it:

.. math:: u\,|\,v, k \sim N(a_k + B_k v,\; S_k).

Observations are linear in v, so the posterior of u is a mixture of Gaussians, too. The scale is not
bent at the ends: a level such as a curve's asymptote is linear in the head, and stays so. What lies
beyond an end counts as that end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metabo.cores import on_cores, part_size
from metabo.mixture.components import Mixture
from metabo.mixture.conditioning import ConditionedMixture
from metabo.mixture.expectation import expectation, likely_pairs
from metabo.mixture.statistics import HeadPrior, HeadStatistics

_PULL = 0.5  # pseudo-tasks that pull a component's covariances to the pooled ones
_CHUNK = 256  # pairs of a task and a component at once
_NEAREST = 8  # components that a task is taken to come from, at most
_FLOOR = 1e-8  # of a variance of u


@dataclass(frozen=True, eq=False)
class ParameterMap:
    """From heads to P parameters, for each of a mixture's C components.

    Attributes:
        names: What the family calls the parameters.
        low: `P`, the lower ends of their ranges ...
        high: `P`, ... and the upper ends.
        offsets: `C x P`.
        slopes: `C x P x r`.
        covariances: `C x P x P`, of what the head leaves open.
    """

    names: tuple[str, ...]
    low: Tensor
    high: Tensor
    offsets: Tensor
    slopes: Tensor
    covariances: Tensor

    def posterior(self, conditioned: ConditionedMixture) -> tuple[Tensor, Tensor]:
        """Each component's Gaussian over u: means `... x C x P`, covariances `... x C x P x P`.

        Args:
            conditioned: With all of the mixture's components.
        """
        means, covariances = conditioned.heads()
        means = self.offsets + (self.slopes @ means.unsqueeze(-1)).squeeze(-1)
        covariances = self.slopes @ covariances @ self.slopes.mT + self.covariances
        # Batches of values at the same points share their covariances.
        return means, covariances.expand(*means.shape, -1)

    def tensors(self) -> dict[str, Tensor]:
        """The fields but the names, for saving."""
        return {name: value for name, value in vars(self).items() if name != "names"}

    def select(self, index: Tensor) -> ParameterMap:
        """For the components at `index` (long or bool)."""
        chosen = {n: getattr(self, n)[index] for n in ("offsets", "slopes", "covariances")}
        return replace(self, **chosen)

    def to(self, device: torch.device | str) -> ParameterMap:
        """A copy on another device."""
        return ParameterMap(self.names, **{n: t.to(device) for n, t in self.tensors().items()})


def fit_parameter_map(
    statistics: HeadStatistics,
    mixture: Mixture,
    parameters: dict[str, Tensor],
    ranges: dict[str, tuple[float, float]],
) -> ParameterMap:
    """Fit the map by one E step over tasks whose parameters are known.

    Broad components know nothing of the family's shape: theirs has the range's mean and variance.

    Args:
        statistics: Of the T tasks, in model units.
        mixture: The mixture over their heads.
        parameters: T values each.
        ranges: The ends between which the parameters are uniform.
    """
    low, high = torch.tensor(list(ranges.values())).to(mixture.means).T
    width = torch.where(high > low, high - low, torch.ones_like(low))
    places = (torch.stack(list(parameters.values()), -1).to(low) - low) / width
    family = ~mixture.is_broad
    offsets, slopes, covariances = _regress(statistics, mixture.select(family), places)
    count, rank, size = mixture.num_components, mixture.roots.shape[-1], len(low)
    everywhere = torch.eye(size).to(low) / 12
    found = ParameterMap(
        names=tuple(ranges),
        low=low,
        high=high,
        offsets=low.new_full((count, size), 0.5),
        slopes=low.new_zeros(count, size, rank),
        covariances=everywhere.repeat(count, 1, 1),
    )
    found.offsets[family], found.slopes[family] = offsets, slopes
    found.covariances[family] = covariances
    return found


def _regress(
    statistics: HeadStatistics, mixture: Mixture, places: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets, slopes and residual covariances of u on v; v itself is known as its posterior."""
    prior = HeadPrior(mixture.log_weights.log_softmax(-1), mixture.means, mixture.roots)
    count, rank, size = mixture.num_components, mixture.roots.shape[-1], places.shape[-1]
    mass = places.new_zeros(count)
    first = places.new_zeros(count, rank + size)
    second = places.new_zeros(count, rank + size, rank + size)
    parts = likely_pairs(statistics, prior, _NEAREST).split(part_size(_CHUNK, places.device))
    posteriors = on_cores(lambda part: expectation(statistics, prior, part), parts)
    for pairs, found in zip(parts, posteriors, strict=True):
        joint = torch.cat([found.center, places[pairs.task]], -1)  # P x (r + size)
        weighted = found.shares[:, None] * joint
        square = weighted.unsqueeze(-1) * joint.unsqueeze(-2)
        square[:, :rank, :rank] += found.shares[:, None, None] * found.covariance
        mass.index_add_(0, pairs.component, found.shares)
        first.index_add_(0, pairs.component, weighted)
        second.index_add_(0, pairs.component, square)
    mean = first / mass.clamp_min(1e-12)[:, None]
    scatter = second - mass[:, None, None] * mean.unsqueeze(-1) * mean.unsqueeze(-2)
    heads = scatter[:, :rank, :rank] + _PULL * torch.eye(rank).to(mean)
    slopes = torch.linalg.solve(heads, scatter[:, :rank, rank:]).mT
    explained = slopes @ scatter[:, :rank, rank:]
    left = scatter[:, rank:, rank:] - explained + _FLOOR * torch.eye(size).to(mean)
    pooled = left.sum(0) / mass.sum()
    covariances = (left + _PULL * pooled) / (mass + _PULL)[:, None, None]
    offsets = mean[:, rank:] - (slopes @ mean[:, :rank, None]).squeeze(-1)
    return offsets, slopes, covariances
