r"""Broad components: ordinary Gaussian processes, for tasks that are not of the family.

Their hyperparameters are integrated over on a grid, which costs nothing while the family holds.
Once the evidence rests on them, the most probable hyperparameters of the one task are found as for
a vanilla Gaussian process, with the same priors [Hvarfner2024]_ but for the kernel, Matern-5/2.

.. [Hvarfner2024] C. Hvarfner, E. O. Hellsten, L. Nardi. Vanilla Bayesian Optimization Performs
    Great in High Dimensions. arXiv:2402.02229.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from metabo.mixture.components import Mixture
from metabo.mixture.conditioning import condition

_UNIT = math.sqrt(12)  # the width of an encoded input, whose variance is one


def broad_components(
    num_features: int,
    encoded_dim: int,
    noise: float,
    *,
    outputscales: tuple[float, ...] = (0.02, 0.2, 1.0, 5.0, 50.0),
    lengthscales: tuple[float, ...] = (0.25, 0.6, 1.5, 3.5),
) -> Mixture:
    """Ordinary Gaussian processes at the family's scale, for tasks of another family.

    The components form a grid of hyperparameters, of which the evidence picks. Values are in model
    units, where the pooled outputs have variance one and a uniform input has; length scales grow
    with the root of the number of inputs.

    Args:
        num_features: p; the last feature is the constant, whose weight is the unknown level.
        encoded_dim: e.
        noise: The variance of the observation noise.
        outputscales: The grid of variances.
        lengthscales: The grid of length scales for one input.
    """
    grid = torch.tensor(list(product(outputscales, lengthscales)), dtype=torch.float64)
    count = len(grid)
    roots = torch.zeros(count, num_features, 1, dtype=torch.float64)
    roots[:, -1, 0] = (1 + grid[:, 0]).sqrt()  # the level is as far off as the function varies
    return Mixture(
        log_weights=torch.full((count,), -math.log(count), dtype=torch.float64),
        means=torch.zeros(count, num_features, dtype=torch.float64),
        roots=roots,
        outputscales=grid[:, 0].clone(),
        lengthscales=grid[:, 1:].repeat(1, encoded_dim) * math.sqrt(max(encoded_dim, 1)),
        noises=torch.full((count,), noise, dtype=torch.float64),
        is_broad=torch.ones(count, dtype=torch.bool),
    )


def fit_broad(features: Tensor, inputs: Tensor, targets: Tensor, noise: Tensor | None) -> Mixture:
    """One broad component with the hyperparameters that are most probable for one task.

    Args:
        features: `n x p`; the last one is constant.
        inputs: `n x e`, encoded.
        targets: `n`, in model units; n > 1.
        noise: `n`, known noise variances; NaN or None where they are to be learned.
    """
    device, size = inputs.device, inputs.shape[-1]
    features, inputs, targets = features.cpu(), inputs.cpu(), targets.cpu()
    noise = None if noise is None else noise.cpu()
    # As BoTorch's defaults: of log length scales in the unit cube, and of the noise where the
    # targets have variance one.
    centers = torch.tensor([0.0, -4.0] + [math.sqrt(2) + 0.5 * math.log(size)] * size)
    spreads = torch.tensor([1.0, 1.0] + [math.sqrt(3)] * size)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logs = torch.tensor(parameters, dtype=torch.float64, requires_grad=True)
        component = _component(logs, features, targets)
        evidence = condition(component, features, inputs, targets, noise).log_evidence
        value = 0.5 * ((logs - centers) / spreads).square().sum() - evidence
        value.backward()
        assert logs.grad is not None
        return float(value), logs.grad.numpy()

    starts = [centers.double().numpy().copy() for _ in range(2)]
    starts[1][2:] = math.log(0.3)
    bounds = [(-6.0, 6.0), (-9.0, 2.0), *[(-4.0, 6.0)] * size]
    fits = [minimize(loss, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts]
    best = min(fits, key=lambda fit: float(fit.fun))
    with torch.no_grad():
        return _component(torch.as_tensor(best.x), features, targets).to(device)


def _component(logs: Tensor, features: Tensor, targets: Tensor) -> Mixture:
    """From logarithms of variance and noise, relative to the targets', and of length scales."""
    level, spread = targets.mean(), targets.var(correction=0).clamp_min(1e-12)
    variance, noise = spread * logs[:2].exp()
    means = features.new_zeros(1, features.shape[-1])
    roots = torch.zeros_like(means).unsqueeze(-1)
    means[:, -1], roots[:, -1] = level, spread.sqrt()
    return Mixture(
        log_weights=features.new_zeros(1),
        means=means,
        roots=roots,
        outputscales=variance[None],
        lengthscales=_UNIT * logs[2:].exp()[None],
        noises=noise[None],
        is_broad=torch.ones(1, dtype=torch.bool),
    )
