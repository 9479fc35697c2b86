r"""Broad components: ordinary Gaussian processes, for tasks that are not of the family.

Their hyperparameters are integrated over on a grid, which costs nothing while the family holds.
Once the evidence rests on them, the most probable hyperparameters of the one task are found as for
a vanilla Gaussian process, with the same priors [Hvarfner2024]_ but for the kernel, Matern-5/2.

.. [Hvarfner2024] C. Hvarfner, E. O. Hellsten, L. Nardi. Vanilla Bayesian Optimization Performs
    Great in High Dimensions. arXiv:2402.02229.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from metabo.mixture.components import Mixture
from metabo.mixture.remainder import HeadTasks, Remainder, log_likelihood

_UNIT = math.sqrt(12)  # the width of an encoded input, whose variance is one
_ENOUGH = 500  # observations for hyperparameters: time grows with the cube of the number
_JITTER = 1e-6  # of the variance, where the noise is known and may be nothing


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
    return _unaware(
        log_weights=torch.full((count,), -math.log(count), dtype=torch.float64),
        means=torch.zeros(count, num_features, dtype=torch.float64),
        roots=roots,
        outputscales=grid[:, 0].clone(),
        lengthscales=grid[:, 1:].repeat(1, encoded_dim) * math.sqrt(max(encoded_dim, 1)),
        noises=torch.full((count,), noise, dtype=torch.float64),
    )


def fit_broad(features: Tensor, inputs: Tensor, targets: Tensor, noise: Tensor | None) -> Mixture:
    """One broad component with the hyperparameters that are most probable for one task.

    Of more than 500 observations, they are from 500 random ones.

    Args:
        features: `n x p`; the last one is constant.
        inputs: `n x e`, encoded.
        targets: `n`, in model units; n > 1.
        noise: `n`, known noise variances; NaN or None where they are to be learned.
    """
    size = inputs.shape[-1]
    known = torch.full_like(targets, torch.nan) if noise is None else noise
    if len(targets) > _ENOUGH:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(targets), generator=generator)[:_ENOUGH].to(targets.device)
        features, inputs, targets, known = (v[rows] for v in (features, inputs, targets, known))
    level, spread = targets.mean(), targets.var(correction=0).clamp_min(1e-24)
    mean, root = features.new_zeros(features.shape[-1]), features.new_zeros(features.shape[-1], 1)
    mean[-1], root[-1] = level, spread.sqrt()
    mask = torch.ones_like(targets, dtype=torch.bool)
    task = HeadTasks(features[None], inputs[None], targets[None], mask[None], mean, root)
    # As BoTorch's defaults: of log length scales in the unit cube, and of the noise where the
    # targets have variance one.
    centers = inputs.new_tensor([0.0, -4.0] + [math.sqrt(2) + 0.5 * math.log(size)] * size)
    spreads = inputs.new_tensor([1.0, 1.0] + [math.sqrt(3)] * size)

    def remainder(logs: Tensor) -> Remainder:
        return Remainder(spread * logs[0].exp(), _UNIT * logs[2:].exp(), spread * logs[1].exp())

    @torch.enable_grad()
    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logs = torch.from_numpy(parameters).to(inputs).requires_grad_()
        found = remainder(logs)
        noises = torch.where(known.isnan(), found.noise, known + _JITTER * found.outputscale)
        evidence = log_likelihood(task, replace(found, noise=noises)).sum()
        value = 0.5 * ((logs - centers) / spreads).square().sum() - evidence
        (slope,) = torch.autograd.grad(value, logs)
        return float(value.detach()), slope.cpu().numpy()

    starts = centers.repeat(2, 1).cpu().numpy()
    starts[1, 2:] = math.log(0.3)  # the other start is for functions that vary fast
    bounds = [(-6.0, 6.0), (-9.0, 2.0), *[(-4.0, 6.0)] * size]
    fits = [minimize(loss, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts]
    best = remainder(torch.from_numpy(min(fits, key=lambda fit: float(fit.fun)).x).to(inputs))
    return _unaware(
        log_weights=level.new_zeros(1),
        means=mean[None],
        roots=root[None],
        outputscales=best.outputscale[None],
        lengthscales=best.lengthscales[None],
        noises=best.noise[None],
    )


def _unaware(*, means: Tensor, **others: Tensor) -> Mixture:
    """Broad components, with all that the family's mean function does to a remainder left out."""
    return Mixture(
        means=means,
        amplitudes=torch.zeros_like(means),
        trends=torch.zeros_like(means),
        is_broad=torch.ones(len(means), dtype=torch.bool, device=means.device),
        **others,
    )
