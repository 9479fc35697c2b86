r"""What a mixture of conjugate Gaussian priors is made of.

On one task, in model units, component :math:`k` says

.. math::
    f(x) = \phi(x) \cdot w + g(x), \quad w \sim N(m_k, R_k R_k^\top), \quad
    g = e^{\phi \cdot \alpha_k} h, \quad
    h \sim GP(0, s_k^2\, \mathrm{Matern}_{5/2}(z / \ell_k, \phi \cdot \tau_k)), \quad
    y = f(x) + N(0, \sigma_k^2)

with :math:`z` the encoded inputs and :math:`\phi` the network's features. So each component is an
exact Gaussian process with mean :math:`\phi m_k` and covariance :math:`\phi R_k R_k^\top \phi'^\top
+ e^{(\phi + \phi') \alpha_k} s_k^2 k`. The amplitude :math:`e^{\phi \alpha}` is for families that
are known better in one region than in another, such as where all tasks are good. The trend
:math:`\phi \tau`, the family's mean function in a length scale of its own, is one more input of the
kernel: points that are equally good as a rule are so on a new task, near each other or not. Tasks
that are one another's monotone transforms differ by a function of it alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

_ROWS = 2048
_MOST_LOG_AMPLITUDE = 3.0


@dataclass(frozen=True, eq=False)
class Mixture:
    """C exact Gaussian processes in model units: encoded inputs, scaled outputs.

    Attributes:
        log_weights: `C`, the logarithm of the prior probabilities, which sum to one.
        means: `C x p`, the mean head of each component.
        roots: `C x p x r`, a root of each head covariance.
        outputscales: `C`, the variance of the Gaussian-process remainder ...
        amplitudes: `C x p`, ... where the head of the logarithm of its amplitude is zero.
        lengthscales: `C x e`, the length scales of the remainder, one per encoded input ...
        trends: `C x p`, ... and the head of its kernel's further input, zero for none.
        noises: `C`, the variance of the observation noise.
        is_broad: `C` (bool), true for the components that know nothing of the family's shape.
    """

    log_weights: Tensor
    means: Tensor
    roots: Tensor
    outputscales: Tensor
    amplitudes: Tensor
    lengthscales: Tensor
    trends: Tensor
    noises: Tensor
    is_broad: Tensor

    @property
    def num_components(self) -> int:
        """C."""
        return self.log_weights.shape[0]

    @property
    def mean_head(self) -> Tensor:
        """The mean head of the family, `p`: the broad components are left out."""
        family = ~self.is_broad
        return self.log_weights[family].softmax(-1) @ self.means[family]

    @cached_property
    @torch.inference_mode(False)
    def _distinct_kernels(self) -> tuple[Tensor, Tensor, Tensor]:
        # Most components share one remainder kernel: its (costly) exponential is evaluated once.
        both = torch.cat([self.lengthscales, self.trends], -1)
        distinct, index = torch.unique(both, dim=0, return_inverse=True)
        inputs = self.lengthscales.shape[-1]
        lengthscales = torch.nn.functional.pad(distinct[:, None, :inputs], (0, 1), value=1.0)
        return lengthscales, distinct[:, inputs:], index

    @cached_property
    @torch.inference_mode(False)
    def _filled_columns(self) -> tuple[Tensor, Tensor]:
        # Of all roots, `m x p`, and whose they are. A broad component's root is mostly padding.
        columns = self.roots.mT
        filled = (columns != 0).any(-1)
        return columns[filled], filled.nonzero()[:, 0]

    def mean(self, features: Tensor) -> Tensor:
        """The prior mean, `... x C x n`, at features `... x n x p`."""
        return (features @ self.means.mT).mT

    def variance(self, features: Tensor) -> Tensor:
        """The prior variance, `... x C x n`, at features `... x n x p`."""
        columns, owner = self._filled_columns
        # Part by part: for a whole table, C x n x r numbers at once would be gigabytes.
        heads = []
        for part in features.split(_ROWS, -2):
            squares = (columns @ part.mT).square()
            zeros = squares.new_zeros(*squares.shape[:-2], self.num_components, squares.shape[-1])
            heads.append(zeros.index_add(-2, owner, squares))
        return torch.cat(heads, -1) + self._amplitude(features).square()

    def _amplitude(self, features: Tensor) -> Tensor:
        """The standard deviation of the remainder, `... x C x n`."""
        return amplitude((features @ self.amplitudes.mT).mT) * self.outputscales.sqrt()[:, None]

    def covariance(self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
        """The prior covariance, `... x C x n x m`, between two sets of points.

        Args:
            a: features `... x n x p` and encoded inputs `... x n x e`.
            b: features `... x m x p` and encoded inputs `... x m x e`.
        """
        # From the left, where the few points are: b may be a whole table.
        pulled = (a[0].unsqueeze(-3) @ self.roots) @ self.roots.mT
        lengthscales, trends, index = self._distinct_kernels
        remainder = matern52(_with_trends(*a, trends), _with_trends(*b, trends), lengthscales)
        remainder = remainder.index_select(-3, index)
        remainder = remainder * self._amplitude(a[0]).unsqueeze(-1)
        # Without a batch of b, this is one product of two matrices.
        right = b[0] if b[0].dim() == 2 else b[0].unsqueeze(-3)
        return torch.addcmul(pulled @ right.mT, remainder, self._amplitude(b[0]).unsqueeze(-2))

    def with_feature(self, mean: float, sd: float) -> Mixture:
        """With one more feature, which comes first and does nothing to the remainder.

        Args:
            mean: Of its weight, in all components.
            sd: Of its weight, which is independent of the others.
        """
        pad = torch.nn.functional.pad
        roots = pad(self.roots, (0, 1, 1, 0))
        roots[:, 0, -1] = sd
        return replace(
            self,
            means=pad(self.means, (1, 0), value=mean),
            roots=roots,
            amplitudes=pad(self.amplitudes, (1, 0)),
            trends=pad(self.trends, (1, 0)),
        )

    def select(self, index: Tensor) -> Mixture:
        """The components at `index` (long or bool), their weights not renormalised."""
        return Mixture(**{name: value[index] for name, value in self.tensors().items()})

    def reweighted(self, log_weights: Tensor) -> Mixture:
        """The same components with other log weights `C`, normalised here."""
        tensors = self.tensors() | {"log_weights": log_weights.log_softmax(-1)}
        return Mixture(**tensors)

    def contiguous(self) -> Mixture:
        """The same components, each tensor laid out row by row."""
        return Mixture(**{name: value.contiguous() for name, value in self.tensors().items()})

    def to(self, device: torch.device | str) -> Mixture:
        """A copy on another device."""
        return Mixture(**{name: value.to(device) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name, for saving."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _with_trends(features: Tensor, inputs: Tensor, trends: Tensor) -> Tensor:
    """What the kernels of D trends see of n points, `... x D x n x (e + 1)`."""
    trend = (features @ trends.mT).mT.unsqueeze(-1)
    every = inputs.unsqueeze(-3).expand(*trend.shape[:-1], inputs.shape[-1])
    return torch.cat([every, trend], -1)


def amplitude(logarithm: Tensor) -> Tensor:
    """That of the remainder; bounded, for what was learned of it ends with the tasks."""
    return logarithm.clamp(-_MOST_LOG_AMPLITUDE, _MOST_LOG_AMPLITUDE).exp()


def matern52(a: Tensor, b: Tensor, lengthscales: Tensor) -> Tensor:
    """The Matern-5/2 correlation, `... x n x m`, of `... x n x e` and `... x m x e`."""
    a, b = a / lengthscales, b / lengthscales
    empty = b.shape[-2] == 0
    center = b.new_zeros(*b.shape[:-2], 1, b.shape[-1]) if empty else b.mean(-2, keepdim=True)
    # Numbers are small around the centre, so that the difference is exact.
    a, b = a - center.detach(), b - center.detach()
    squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
    # The clamp keeps the gradient of the root finite (zero) where two points coincide.
    distance = (squares - 2 * a @ b.mT).clamp_min(1e-15).sqrt() * math.sqrt(5)
    return (1 + distance + distance.square() / 3) * (-distance).exp()


def concatenate(parts: list[tuple[float, Mixture]]) -> Mixture:
    """One mixture out of several; each part comes with its share of the prior probability."""
    total = sum(share for share, _ in parts)
    width = max(part.roots.shape[-1] for _, part in parts)
    columns: dict[str, list[Tensor]] = {field.name: [] for field in fields(Mixture)}
    for share, part in parts:
        for name, value in part.tensors().items():
            if name == "log_weights":
                value = value.log_softmax(-1) + math.log(share / total)
            if name == "roots":
                value = torch.nn.functional.pad(value, (0, width - value.shape[-1]))
            columns[name].append(value)
    return Mixture(**{name: torch.cat(values) for name, values in columns.items()})
