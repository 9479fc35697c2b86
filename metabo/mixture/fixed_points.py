r"""The posterior at many fixed points, kept up to date while observations come in one by one.

A table of candidates is looked at anew after each observation. For fixed points Z, one component of
a mixture and the Cholesky factor L of its n observations' covariance, all that costs is

.. math::
    E = L^{-1} k(X, Z), \qquad
    \mu(Z) = m(Z) + E^\top r, \qquad
    \sigma^2(Z) = k(Z, Z) - \sum_i E_{i \cdot}^2

with :math:`r = L^{-1} (y - m(X))`. One more observation leaves L as it is but for a new row
:math:`(l, \lambda)`, and so E but for a new row :math:`(k(x_{n+1}, Z) - l^\top E) / \lambda`. And
since :math:`k(X, Z) = L E`, no kernel is evaluated for the covariance with the value at an observed
point :math:`x_j`, which is :math:`(L_{j \cdot} - b_j)^\top E` with :math:`b_j = L^{-1} k(X, x_j)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from metabo.mixture.components import Mixture
from metabo.mixture.conditioning import (
    VARIANCE_FLOOR,
    Comparison,
    ConditionedMixture,
    Marginals,
)

At = Tensor | slice  # some of the points

_MOST_NUMBERS = 125_000_000  # kept at a time, a gigabyte
_IN_CACHE = 50_000  # numbers at a time: pages of new memory cost more than what fills them
_SAME = 1e-9  # of a factor's largest entry: no more than rounding


@dataclass(eq=False)
class _Followed:
    """What is kept of one component at N points.

    Attributes:
        mean: `N`, the prior's.
        prior_variance: `N`.
        variance: `N`, given the observations.
        explained: At least `n x N`, of which the first n rows are E.
        inputs: `n x e`, where the observations are that E is of.
        factor: `n x n`, their L.
        jitter: As of `ConditionedMixture`.
    """

    mean: Tensor
    prior_variance: Tensor
    variance: Tensor
    explained: Tensor
    inputs: Tensor
    factor: Tensor
    jitter: float = 0.0

    def count_valid(self, conditioned: ConditionedMixture, component: int) -> int:
        """How many rows of E hold for these observations too."""
        if self.jitter > 0 or conditioned.jitter > 0:  # then all of L depends on n
            return 0
        inputs, factor = conditioned.points[1], conditioned.factor[component]
        n = min(len(inputs), len(self.inputs))
        if n == 0:
            return 0
        tolerance = _SAME * float(factor.diagonal().max())
        same = (self.inputs[:n] == inputs[:n]).all(-1)
        same &= ((self.factor[:n, :n] - factor[:n, :n]).abs() < tolerance).all(-1)
        return int(same.long().cumprod(0).sum())

    def cut(self, count: int) -> None:
        """Forget all but so many rows of E."""
        if count < len(self.inputs):
            self.inputs = self.inputs[:count]
            self.variance = self.prior_variance
            self._explain(self.explained[:count])

    def _explain(self, rows: Tensor) -> None:
        left = self.variance - rows.square().sum(0)
        self.variance = torch.maximum(left, VARIANCE_FLOOR * self.prior_variance)

    def append(self, conditioned: ConditionedMixture, component: int) -> None:
        """Turn the rows k(x, Z) of new observations, already written below E, into rows of E."""
        factor, old, n = conditioned.factor[component], len(self.inputs), len(conditioned.points[1])
        rows = self.explained[old:n]
        rows.addmm_(factor[old:, :old], self.explained[:old], alpha=-1)
        rows.copy_(torch.linalg.solve_triangular(factor[old:, old:], rows, upper=False))
        self._explain(rows)
        self.inputs, self.factor, self.jitter = conditioned.points[1], factor, conditioned.jitter

    def make_room(self, count: int) -> None:
        """For so many rows in all."""
        room = len(self.explained)
        if room < count:
            larger = self.explained.new_empty(max(count, 2 * room), len(self.mean))
            larger[:room] = self.explained
            self.explained = larger


def fit_in_memory(num_points: int, conditioned: ConditionedMixture) -> bool:
    """Whether there is room for what `FixedPoints` has to keep of these components."""
    features, inputs = conditioned.points
    of_component = 3 + 2 * len(features)  # room for rows is doubled when there is none left
    of_point = features.shape[-1] + inputs.shape[-1]
    numbers = of_point + conditioned.mixture.num_components * of_component
    return num_points * numbers <= _MOST_NUMBERS


class FixedPoints:
    """N points at which mixtures are predicted again and again, without gradients.

    What is kept of a component holds for any mixture that has the component, and for as many of the
    observations as are the first ones again; so the result is right whatever the mixture is, and
    soon there if it differs little from the one before.

    Args:
        features: `N x p`.
        inputs: `N x e`, encoded.
    """

    def __init__(self, features: Tensor, inputs: Tensor) -> None:
        self._points = (features, inputs)
        self._followed: dict[bytes, _Followed] = {}

    def marginals(self, conditioned: ConditionedMixture) -> Callable[[At], Marginals]:
        """What `conditioned.predict` says of the points at some indices, one by one.

        To be used before the next call: then what is kept changes.
        """
        return partial(_marginals, self._follow(conditioned), conditioned.residual.mT)

    def compare(self, conditioned: ConditionedMixture, row: int) -> Callable[[At], Comparison]:
        """What `conditioned.compare` says, with an observation's point as the reference.

        To be used likewise.
        """
        features, inputs = conditioned.points
        found = conditioned.predict(features[row : row + 1], inputs[row : row + 1])
        shared = conditioned.factor[:, row] - found.explained.squeeze(-1)
        weights = torch.stack([conditioned.residual.squeeze(-1), shared], 1)
        reference = Marginals(found.means, found.variances)
        return partial(_compare, self._follow(conditioned), weights, reference)

    def _follow(self, conditioned: ConditionedMixture) -> list[_Followed]:
        """What is kept of each component, brought up to date."""
        keys = _fingerprints(conditioned.mixture)
        which = {key: component for component, key in enumerate(keys)}
        self._begin({key: k for key, k in which.items() if key not in self._followed}, conditioned)
        behind: dict[int, list[int]] = {}  # by the number of rows that hold
        for key, component in which.items():
            part = self._followed[key]
            part.cut(part.count_valid(conditioned, component))
            behind.setdefault(len(part.inputs), []).append(component)
        for start, components in behind.items():
            self._append(conditioned, {keys[k]: k for k in components}, start)
        if sum(part.explained.numel() for part in self._followed.values()) > _MOST_NUMBERS:
            self._followed = {key: self._followed[key] for key in which}
        return [self._followed[key] for key in keys]

    def _begin(self, which: dict[bytes, int], conditioned: ConditionedMixture) -> None:
        """Keep components, given no observations yet."""
        if not which:
            return
        features, inputs = self._points
        mixture = conditioned.mixture.select(torch.tensor(list(which.values())))
        means, variances = mixture.mean(features).contiguous(), mixture.variance(features)
        none, no_factor = features.new_empty(0, len(features)), features.new_empty(0, 0)
        for key, mean, variance in zip(which, means, variances, strict=True):
            self._followed[key] = _Followed(mean, variance, variance, none, inputs[:0], no_factor)

    def _append(self, conditioned: ConditionedMixture, which: dict[bytes, int], start: int) -> None:
        """Bring components up to date that have `start` rows of E."""
        features, inputs = conditioned.points
        if start == len(inputs):
            return
        mixture = conditioned.mixture.select(torch.tensor(list(which.values())))
        followed = [self._followed[key] for key in which]
        for part in followed:
            part.make_room(len(inputs))
        new = (features[start:], inputs[start:])
        for columns in self._blocks(len(which) * len(new[1])):
            block = (self._points[0][columns], self._points[1][columns])
            crosses = mixture.covariance(new, block)
            for part, cross in zip(followed, crosses, strict=True):
                part.explained[start : len(inputs), columns] = cross
        for part, component in zip(followed, which.values(), strict=True):
            part.append(conditioned, component)

    def _blocks(self, height: int) -> Iterator[slice]:
        """The points part by part, so that numbers of a part, at a height, fit in the cache."""
        width = max(_IN_CACHE // height, 256)
        for begin in range(0, len(self._points[0]), width):
            yield slice(begin, begin + width)


def _fingerprints(mixture: Mixture) -> list[bytes]:
    """What tells components apart, whatever their weights."""
    parts = [
        mixture.means,
        mixture.roots.flatten(1),
        mixture.outputscales[:, None],
        mixture.lengthscales,
        mixture.noises[:, None],
    ]
    return [row.tobytes() for row in torch.cat(parts, 1).cpu().numpy()]


def _predict(followed: list[_Followed], weights: Tensor, at: At) -> tuple[Tensor, Tensor, Tensor]:
    """Means and variances, `C x q`, and weights, `C x s x n`, times E, `s x C x q`."""
    n = weights.shape[-1]
    products = torch.stack(
        [w @ part.explained[:n, at] for w, part in zip(weights, followed, strict=True)], 1
    )
    means = products[0] + torch.stack([part.mean[at] for part in followed])
    return means, torch.stack([part.variance[at] for part in followed]), products


def _marginals(followed: list[_Followed], residual: Tensor, at: At) -> Marginals:
    means, variances, _ = _predict(followed, residual, at)
    return Marginals(means, variances)


def _compare(
    followed: list[_Followed], weights: Tensor, reference: Marginals, at: At
) -> Comparison:
    means, variances, (_, shared) = _predict(followed, weights, at)
    return Comparison(means, variances, shared, reference)
