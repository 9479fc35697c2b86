r"""The posterior at many fixed points, kept up to date while observations come in one by one.

A table of candidates is looked at anew after each observation. For fixed points Z, one component of
a mixture and the Cholesky factor L of its n observations' covariance, all that costs is

.. math::
    V = L^{-1} k(X, Z), \qquad
    \mu(Z) = m(Z) + V^\top r, \qquad
    \sigma^2(Z) = k(Z, Z) - \sum_i V_{i \cdot}^2

with :math:`r = L^{-1} (y - m(X))`. One more observation leaves L as it is but for a new row
:math:`(l, \lambda)`, and so V but for a new row :math:`(k(x_{n+1}, Z) - l^\top V) / \lambda`. And
since :math:`k(X, Z) = L V`, no kernel is evaluated for the covariance with the value at an observed
point :math:`x_j`, which is :math:`(L_{j \cdot} - b_j)^\top V` with :math:`b_j = L^{-1} k(X, x_j)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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
Observed = tuple[tuple[float, ...], float]  # where, and the entry on the diagonal of L

_MOST_NUMBERS = 125_000_000  # kept at a time, a gigabyte
_ROOM = 32  # rows to begin with; doubled when they are full
_IN_CACHE = 100_000  # numbers at a time: pages of new memory cost more than what fills them
_SAME = 1e-7  # relatively: no more than rounding


@dataclass(eq=False)
class _Followed:
    """What is kept of one component at N points.

    Attributes:
        mean: `N`, the prior's.
        prior_variance: `N`.
        variance: `N`, given the observations.
        explained: At least `n x N`, of which the first n rows are V.
        observed: The n observations that V is of. The diagonal of L tells of their noise.
    """

    mean: Tensor
    prior_variance: Tensor
    variance: Tensor
    explained: Tensor
    observed: list[Observed]

    def keep(self, observed: Sequence[Observed]) -> None:
        """Forget the rows of V that do not hold for these observations."""
        pairs = zip(self.observed, observed, strict=False)
        same = [a[0] == b[0] and math.isclose(a[1], b[1], rel_tol=_SAME) for a, b in pairs]
        count = same.index(False) if False in same else len(same)
        if count < len(self.observed):
            self.observed = self.observed[:count]
            self.variance.copy_(self.prior_variance)
            self._explain(self.explained[:count])

    def append(self, factor: Tensor, observed: Sequence[Observed]) -> None:
        """Turn the rows k(x, Z) of new observations, written below V, into rows of V.

        Args:
            factor: `n x n`, L with the new observations ...
            observed: ... which come last.
        """
        old = len(self.observed)
        rows = self.explained[old : len(observed)]
        rows.addmm_(factor[old:, :old], self.explained[:old], alpha=-1)
        if len(observed) == old + 1:
            rows.div_(factor[old, old])
        else:
            rows.copy_(torch.linalg.solve_triangular(factor[old:, old:], rows, upper=False))
        self._explain(rows)
        self.observed = list(observed)

    def _explain(self, rows: Tensor) -> None:
        for row in rows:
            self.variance.addcmul_(row, row, value=-1)
        self.variance.clamp_min_(VARIANCE_FLOOR * float(self.prior_variance.min()))

    def make_room(self, count: int) -> None:
        """For so many rows in all."""
        room = self.explained.shape[0]
        if room < count:
            larger = self.explained.new_empty(max(count, 2 * room, _ROOM), self.explained.shape[1])
            larger[:room] = self.explained
            self.explained = larger


def fit_in_memory(num_points: int, conditioned: ConditionedMixture) -> bool:
    """Whether there is room for what `FixedPoints` has to keep of these components."""
    features, inputs = conditioned.points
    of_component = 3 + max(_ROOM, 2 * len(features))
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
        observed = _observed(conditioned)
        behind: dict[int, list[int]] = {}  # by the number of rows that hold
        for key, component in which.items():
            part = self._followed[key]
            part.keep(observed[component])
            behind.setdefault(len(part.observed), []).append(component)
        for start, components in behind.items():
            if start < len(observed[0]):
                self._write(conditioned, [keys[k] for k in components], components, start)
                for k in components:
                    self._followed[keys[k]].append(conditioned.factor[k], observed[k])
        if sum(part.explained.numel() for part in self._followed.values()) > _MOST_NUMBERS:
            self._followed = {key: self._followed[key] for key in which}
        return [self._followed[key] for key in keys]

    def _begin(self, which: dict[bytes, int], conditioned: ConditionedMixture) -> None:
        """Keep components, given no observations yet."""
        if not which:
            return
        features = self._points[0]
        mixture = conditioned.mixture.select(torch.tensor(list(which.values())))
        means, variances = mixture.mean(features).contiguous(), mixture.variance(features)
        none = features.new_empty(0, features.shape[0])
        for key, mean, variance in zip(which, means, variances, strict=True):
            self._followed[key] = _Followed(mean, variance, variance.clone(), none, [])

    def _write(
        self, conditioned: ConditionedMixture, keys: list[bytes], components: list[int], start: int
    ) -> None:
        """Write k(x, Z) of the observations from `start` on below the V of some components."""
        features, inputs = conditioned.points
        n = inputs.shape[0]
        mixture = conditioned.mixture.select(torch.tensor(components))
        followed = [self._followed[key] for key in keys]
        for part in followed:
            part.make_room(n)
        new = (features[start:], inputs[start:])
        for columns in self._blocks(len(components) * (n - start)):
            block = (self._points[0][columns], self._points[1][columns])
            crosses = mixture.covariance(new, block)
            for part, cross in zip(followed, crosses, strict=True):
                part.explained[start:n, columns] = cross

    def _blocks(self, height: int) -> Iterator[slice]:
        """The points part by part, so that numbers of a part, at a height, fit in the cache."""
        width = max(_IN_CACHE // height, 256)
        for begin in range(0, self._points[0].shape[0], width):
            yield slice(begin, begin + width)


def _observed(conditioned: ConditionedMixture) -> list[list[Observed]]:
    """The observations, for each component."""
    where = [tuple(row) for row in conditioned.points[1].tolist()]
    diagonals = conditioned.factor.diagonal(dim1=-2, dim2=-1)
    if conditioned.jitter > 0:  # all of L depends on n: no row is to be found the same again
        diagonals = torch.full_like(diagonals, torch.nan)
    return [list(zip(where, diagonal, strict=True)) for diagonal in diagonals.tolist()]


def _fingerprints(mixture: Mixture) -> list[bytes]:
    """What tells components apart, whatever their weights."""
    aside = ("log_weights", "is_broad")
    tensors = [value for name, value in mixture.tensors().items() if name not in aside]
    parts = [value.reshape(len(value), -1) for value in tensors]
    return [row.tobytes() for row in torch.cat(parts, 1).cpu().numpy()]


def _predict(followed: list[_Followed], weights: Tensor, at: At) -> tuple[Tensor, Tensor, Tensor]:
    """Means and variances, `C x q`, and weights, `C x s x n`, times V, `s x C x q`."""
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
