r"""One Gaussian process for many tasks: hyperparameters by their pooled marginal likelihood.

.. math::
    \sum_t \log N(y_t;\; c + \mu(x),\; s^2 K_t + \sigma^2 I), \quad
    K = \mathrm{Matern}_{5/2}(\psi(x), \psi(x')),

where :math:`\psi` is a network, which makes it a deep kernel, or the encoded inputs, and
:math:`\mu` a network or zero.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.utils import skip_init

from metabo.tasks.task import TaskBatch

_MIN_NOISE = 1e-6


class PooledGP(nn.Module):
    """The process, in float64, on encoded inputs and standardised Y.

    Args:
        num_inputs: e.
        hidden: The widths of the network's layers, the last of which is the number of features; if
            empty there is no network, and each input has a length scale of its own.
        generator: Of the networks' weights.
        mean_hidden: The widths of the hidden layers of the mean's network; if empty the mean is
            constant.
    """

    def __init__(
        self,
        num_inputs: int,
        hidden: Sequence[int],
        generator: torch.Generator,
        mean_hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.network = _network([num_inputs, *hidden], generator)
        self.mean = _parameter(torch.zeros(()))
        self.mean_network = (
            _network([num_inputs, *mean_hidden, 1], generator) if mean_hidden else None
        )
        lengthscales = torch.zeros(1 if hidden else num_inputs)
        # Features that are as wide apart as encoded inputs get length scales of that order.
        self.log_lengthscales = _parameter(lengthscales + math.log(2.0))
        self.log_outputscale = _parameter(torch.zeros(()))
        self.log_noise = _parameter(torch.tensor(math.log(0.05)))

    @property
    def noise(self) -> Tensor:
        """The variance of the noise."""
        return self.log_noise.exp() + _MIN_NOISE

    def mean_at(self, X: Tensor) -> Tensor:
        """The mean, `... x n`, at encoded inputs `... x n x e`."""
        if self.mean_network is None:
            return self.mean.expand(X.shape[:-1])
        return self.mean + self.mean_network(X).squeeze(-1)

    def covariance(self, A: Tensor, B: Tensor) -> Tensor:
        """The covariance, `... x n x m`, of features `... x n x p` and `... x m x p`."""
        lengthscales = self.log_lengthscales.exp()
        return self.log_outputscale.exp() * matern(A / lengthscales, B / lengthscales)

    def loss(self, X: Tensor, Y: Tensor, mask: Tensor) -> Tensor:
        """The negative log marginal likelihood of b tasks, by the number of observations.

        Args:
            X: `b x n x e`.
            Y: `b x n`.
            mask: `b x n`, which of them are observations, not padding.
        """
        root = torch.linalg.cholesky(self._gram(self.network(X), mask))
        residual = torch.where(mask, Y - self.mean_at(X), torch.zeros_like(Y)).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(root, residual, upper=False)
        # Padding is independent of all else with variance 1: it adds nothing to either term.
        log_determinant = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum()
        count = mask.sum()
        return 0.5 * ((whitened.square().sum() + log_determinant) / count + math.log(2 * math.pi))

    def _gram(self, features: Tensor, mask: Tensor) -> Tensor:
        both = mask.unsqueeze(-1) & mask.unsqueeze(-2)
        covariance = torch.where(both, self.covariance(features, features), 0.0)
        return covariance + torch.diag_embed(torch.where(mask, self.noise, 1.0))

    def posterior(self, X: Tensor, Y: Tensor, query: Tensor) -> Normal:
        """The distribution of noise-free values at query points `m x e`, of batch shape m.

        Args:
            X: `n x e`; n may be 0.
            Y: `n`.
            query: `m x e`.
        """
        features, wanted = self.network(X), self.network(query)
        everything = torch.ones(len(X), dtype=torch.bool)
        root = torch.linalg.cholesky(self._gram(features, everything))
        half = torch.linalg.solve_triangular(root, self.covariance(features, wanted), upper=False)
        whitened = torch.linalg.solve_triangular(
            root, (Y - self.mean_at(X)).unsqueeze(-1), upper=False
        )
        variance = self.log_outputscale.exp() - half.square().sum(0)
        mean = self.mean_at(query) + (half.mT @ whitened).squeeze(-1)
        return Normal(mean, variance.clamp_min(1e-12).sqrt())

    def fit(self, draw: Callable[[], TaskBatch], *, steps: int, step_size: float) -> list[float]:
        """Lower the loss by Adam, its steps cooled to zero.

        Args:
            draw: The tasks of the next step.
            steps: How many.
            step_size: The first one.

        Returns:
            The loss at each step.
        """
        losses = []
        optimizer = torch.optim.Adam(self.parameters(), lr=step_size)
        cooling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        with torch.enable_grad():
            for _ in range(steps):
                tasks = draw()
                optimizer.zero_grad()
                loss = self.loss(tasks.X, tasks.Y, tasks.mask)
                loss.backward()
                optimizer.step()
                cooling.step()
                losses.append(float(loss.detach()))
        return losses

    def copy(self) -> Self:
        """One that can be fitted while this stays."""
        return copy.deepcopy(self)


def _network(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layer = skip_init(nn.Linear, before, after, dtype=torch.float64)
        with torch.no_grad():
            weight = torch.randn(after, before, generator=generator, dtype=torch.float64)
            layer.weight.copy_(weight * (2.0 / before) ** 0.5)
            layer.bias.zero_()
        layers += [nn.ReLU(), layer] if layers else [layer]
    return nn.Sequential(*layers)


def _parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.double())


def matern(A: Tensor, B: Tensor) -> Tensor:
    """The Matern-5/2 correlation, `... x n x m`, of points `... x n x p` and `... x m x p`."""
    norms = A.square().sum(-1, keepdim=True) + B.square().sum(-1).unsqueeze(-2)
    squares = (norms - 2 * A @ B.mT).clamp_min(0.0)
    root = (5.0 * squares + 1e-12).sqrt()  # the root of 0 has no gradient
    return (1 + root + 5.0 / 3.0 * squares) * (-root).exp()
