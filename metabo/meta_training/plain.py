"""Kernels for surrogates that are one Gaussian process, from tasks that the mean has not seen."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from metabo.cores import on_cores
from metabo.meta_training.heads import Fold, HeadSettings, assemble, fit_one
from metabo.mixture import HeadTasks, Remainder, fit_remainder
from metabo.prior import PlainKernels, PooledKernel

_TASKS = 64  # left-out tasks of each fold at most ...
_POINTS = 40  # ... and observations of each
_MEAN_TASKS = 512  # tasks that the mean function of a fold is from, at most


def fit_plain_kernels(
    folds: list[Fold], remainder: Remainder, settings: HeadSettings
) -> PlainKernels:
    """Fit both kernels to what the mean function leaves over on left-out tasks.

    Args:
        folds: Features, their training tasks and left-out tasks, in model units.
        remainder: What one Gaussian over heads leaves over.
        settings: How that Gaussian is fitted.
    """
    on_inputs, on_features = [], []
    for fold in folds:
        tasks = fold.held_out.select(slice(0, _TASKS))
        X, Y, mask = (part[:, :_POINTS] for part in (tasks.X, tasks.Y, tasks.mask))
        features = fold.features.network.features(X)
        mean = _mean_head(fold, remainder, settings)
        root = torch.zeros_like(mean).unsqueeze(-1)
        on_inputs.append(HeadTasks(features, X, Y, mask, mean, root))
        on_features.append(HeadTasks(features, features[..., :-1], Y, mask, mean, root))
    inputs = on_inputs[0].inputs.shape[-1]
    lengths = inputs**0.5 * remainder.noise.new_ones(inputs)
    kernels = on_cores(
        lambda start: _fit(*start, remainder.noise),
        [(on_inputs, lengths), (on_features, _spread(on_features).unsqueeze(-1))],
    )
    return PlainKernels(*kernels)


def _mean_head(fold: Fold, remainder: Remainder, settings: HeadSettings) -> Tensor:
    if len(fold.train) > _MEAN_TASKS:  # else the fold has its mean function already
        fold = replace(fold, train=fold.train.select(slice(0, _MEAN_TASKS)))
    head = fit_one(fold, remainder, settings.em, settings.points_per_task)
    return assemble(head, remainder, fold).mean_head


def _fit(folds: list[HeadTasks], lengthscales: Tensor, noise: Tensor) -> PooledKernel:
    left = torch.cat([(f.targets - f.features @ f.mean)[f.mask] for f in folds])
    start = Remainder(left.square().mean().clamp_min(1e-6), lengthscales, noise)
    fitted, _ = fit_remainder(folds, start)
    return PooledKernel(
        outputscale=float(fitted.outputscale),
        lengthscales=tuple(fitted.lengthscales.tolist()),
        noise=float(fitted.noise),
    )


def _spread(folds: list[HeadTasks]) -> Tensor:
    """The root mean squared distance of two feature vectors, 0-d; 1 if all are the same."""
    seen = torch.cat([fold.inputs[fold.mask] for fold in folds])
    spread = (2 * seen.var(0).sum()).sqrt()
    return torch.where(spread > 0, spread, 1.0)
