"""From a family of tasks to a Prior."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from metabo.meta_training.features import FeatureSettings, complement, left_out, train_features
from metabo.meta_training.heads import (
    Fold,
    HeadSettings,
    assemble,
    candidates,
    fit_left_out_remainder,
    score,
)
from metabo.meta_training.levels import without_levels
from metabo.meta_training.outer_loop import choose_device
from metabo.meta_training.provenance import software
from metabo.mixture import HeadPrior, Mixture
from metabo.network import MLP
from metabo.prior import Prior
from metabo.tasks.tables import TableFamily
from metabo.tasks.task import TaskBatch, TaskFamily


@dataclass(frozen=True)
class MetaTrainSettings:
    """How a Prior is made.

    Attributes:
        num_tasks: How many tasks are drawn from a family in closed form; a table has its own.
        points_per_task: How many observations of each.
        features: The network.
        heads: The mixture.
    """

    num_tasks: int = 3000
    points_per_task: int = 40
    table_points_per_task: int = 1000
    features: FeatureSettings = field(default_factory=FeatureSettings)
    heads: HeadSettings = field(default_factory=HeadSettings)


@dataclass(frozen=True, eq=False)
class _Fit:
    """One way to model the family, and how likely left-out tasks are under it."""

    network: MLP
    mixture: Mixture
    evidence: float
    choices: dict[str, Any]


def meta_train(
    family: TaskFamily,
    *,
    seed: int = 0,
    settings: MetaTrainSettings = MetaTrainSettings(),
    device: torch.device | str = "auto",
    progress: bool = True,
) -> Prior:
    """Meta-train a Prior: Reptile, refinement of the features, the mixture over heads.

    Whether tasks have levels of their own, the number of components, the remainder and the noise are
    chosen by the evidence of left-out training tasks.

    Args:
        family: Where training tasks come from.
        seed: Decides everything: the same seed gives the same Prior on the same machine.
        settings: Numbers of tasks and steps, and step sizes.
        device: "auto" is CUDA where there is one. The Prior comes back on the CPU.
        progress: Whether to show what is being done, and the time left, on the standard error.

    Raises:
        DivergedError: If Reptile's inner loop stops being finite.
    """
    started = time.perf_counter()
    is_table = isinstance(family, TableFamily)
    points = settings.table_points_per_task if is_table else settings.points_per_task
    raw = family.batch(settings.num_tasks, points, seed=seed)
    offset, scale = _pooled_scale(raw)
    tasks = TaskBatch(family.space.encode(raw.X), (raw.Y - offset) / scale * raw.mask, raw.counts)
    tasks = tasks.to(choose_device(device))
    ways = [False, True] if is_table and len(tasks) > 1 else [False]
    fits = [_fit(tasks, levels, settings, seed, progress) for levels in ways]
    best = max(fits, key=lambda fit: fit.evidence)
    return Prior(
        network=best.network.to("cpu"),
        mixture=best.mixture.to("cpu"),
        space=family.space,
        output_offset=offset,
        output_scale=scale,
        minimize=getattr(family, "minimize", False),
        provenance={
            "software": software(),
            "family": family.describe(),
            "data": {"num_tasks": len(tasks), "num_observations": int(raw.counts.sum())},
            "seed": seed,
            "settings": asdict(settings),
            "chosen": best.choices,
            "seconds": round(time.perf_counter() - started, 3),
        },
    )


def _pooled_scale(raw: TaskBatch) -> tuple[float, float]:
    """The mean and the standard deviation of all observations, each task counting the same."""
    weights = raw.mask / raw.counts[:, None] / len(raw)
    mean = float((weights * raw.Y).sum())
    deviation = float((weights * (raw.Y - mean).square()).sum().sqrt())
    return mean, deviation if deviation > 1e-12 * max(abs(mean), 1e-300) else 1.0


def _fit(
    tasks: TaskBatch, levels: bool, settings: MetaTrainSettings, seed: int, progress: bool
) -> _Fit:
    groups = left_out(len(tasks), torch.Generator().manual_seed(seed))
    folds = [_fold(tasks, group, levels, settings, seed, progress) for group in groups]
    remainder, head_scale = fit_left_out_remainder(folds, settings.heads)
    evidence: dict[int, Tensor] = {}
    for fold in folds:
        sizes = settings.heads.num_components
        heads = candidates(fold, remainder, head_scale, sizes, settings.heads, seed=seed)
        for size, head in heads.items():
            mixture = assemble(head, remainder, fold.train, levels)
            found = score(fold, mixture, settings.heads.points, seed)
            evidence[size] = torch.cat([evidence[size], found]) if size in evidence else found
    size = _smallest_good(evidence)
    final = _everything(tasks, folds, levels, settings, seed, progress)
    head = candidates(final, remainder, head_scale, (size,), settings.heads, seed=seed)[size]
    return _Fit(
        network=final.features.network,
        mixture=assemble(head, remainder, tasks, levels),
        evidence=float(evidence[size].mean()),
        choices={
            "levels": levels,
            "num_components": size,
            "evidence": {str(k): float(v.mean()) for k, v in evidence.items()},
            "noise_sd": float(remainder.noise.sqrt()),
            "remainder_sd": float(remainder.outputscale.sqrt()),
        },
    )


def _fold(
    tasks: TaskBatch,
    group: Tensor,
    levels: bool,
    settings: MetaTrainSettings,
    seed: int,
    progress: bool,
) -> Fold:
    train, held_out = tasks.select(complement(group, len(tasks))), tasks.select(group)
    shapes = (without_levels(train), without_levels(held_out)) if levels else (train, held_out)
    features = train_features(*shapes, settings.features, seed=seed, progress=progress)
    return Fold(features, train, held_out, levels)


def _everything(
    tasks: TaskBatch,
    folds: list[Fold],
    levels: bool,
    settings: MetaTrainSettings,
    seed: int,
    progress: bool,
) -> Fold:
    """All tasks; with one fold its features, which were stopped by its left-out tasks, else new ones."""
    if len(folds) == 1:
        features = folds[0].features
    else:
        shapes = without_levels(tasks) if levels else tasks
        features = train_features(shapes, None, settings.features, seed=seed, progress=progress)
    return Fold(features, tasks, tasks, levels)


def _smallest_good(evidence: dict[int, Tensor]) -> int:
    """The fewest components whose evidence is within one standard error of the best."""
    best = max(evidence, key=lambda size: float(evidence[size].mean()))
    for size in sorted(evidence):
        behind = evidence[best] - evidence[size]
        error = behind.std(correction=0) / len(behind) ** 0.5
        if float(behind.mean()) <= float(error):
            return size
    return best
