"""One way to model a family: in some units, with or without levels of its tasks' own."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from metabo.cores import on_cores
from metabo.known_points import KnownPoints
from metabo.meta_training.effects import fit_effects
from metabo.meta_training.features import (
    FEW,
    Features,
    FeatureSettings,
    complement,
    for_copies,
    left_out,
    meta_learned,
    train_features,
)
from metabo.meta_training.heads import (
    Fold,
    HeadSettings,
    LeftOutFit,
    assemble,
    candidates,
    fit_left_out_remainder,
    score,
)
from metabo.meta_training.levels import without_levels
from metabo.meta_training.plain import fit_plain_kernels
from metabo.meta_training.progress import progress_bar
from metabo.meta_training.records import Records
from metabo.meta_training.shifts import Shifts
from metabo.meta_training.units import Units
from metabo.mixture import HeadPrior, Mixture, Remainder
from metabo.network import MLP
from metabo.prior import PlainKernels
from metabo.tasks.task import TaskBatch

_EARLY = 3  # observations of a task that tell its level
_JUDGED = 64  # tasks or, of fewer tasks, draws of their observations that judge
_PLENTY = 1000  # with so many tasks, the left-out fifth would not make the mixture better


@dataclass(frozen=True, eq=False)
class Fit:
    """One way to model the family, and how likely left-out tasks are under it.

    Of few tasks, the evidence is that of what follows a task's first observations. These tell its
    level, for which only a way with levels pays, once, and the more the fewer tasks there are.
    """

    units: Units
    levels: bool
    network: MLP
    mixture: Mixture
    known: KnownPoints | None
    remainder: Remainder
    trend: Tensor
    evidence: Tensor  # of each left-out task
    plain: PlainKernels
    choices: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Way:
    """One way to model the tasks: in some units, with or without levels of their own, and shifts.

    Attributes:
        tasks: In these units, X encoded.
        units: The units.
        levels: Whether tasks have an offset and a scale of their own.
        shifts: What training tasks are seen as besides; None for nothing.
        features: How networks are trained.
        heads: How the mixture is fitted.
        seed: Of all that is random.
        progress: As in `meta_train`.
        records: As in `meta_train`.
    """

    tasks: TaskBatch
    units: Units
    levels: bool
    shifts: Shifts | None
    features: FeatureSettings
    heads: HeadSettings
    seed: int
    progress: bool
    records: Records | None

    def fit(self) -> Fit:
        """Fit, the size and the remainder chosen on left-out tasks."""
        heads = self.heads
        groups = left_out(len(self.tasks), torch.Generator().manual_seed(self.seed))
        # A single task cannot be left out: it is judged by itself, and the broad share is large.
        folds = self._folds(groups) or [self._everything([])]
        found = fit_left_out_remainder(folds, heads)
        remainder = found.remainder
        assert remainder.trend is not None
        evidence, late, last = self._judge(folds, found)
        size = _smallest_good(evidence)
        final, head = self._everything(folds), last[size]
        if len(folds) > 1 or len(self.tasks) < _PLENTY:
            # More tasks may have fewer copies, which may carry a little less than this size.
            ((_, head),) = candidates(final, found, (size,), heads, self.seed)
        effects = fit_effects(folds, final)
        slope = None if effects is None else (effects.mean, effects.sd)
        return Fit(
            units=self.units,
            levels=self.levels,
            network=final.features.network,
            mixture=assemble(head, remainder, final, slope),
            known=None if effects is None else effects.points,
            remainder=remainder,
            trend=final.trend,
            evidence=late[size],
            plain=fit_plain_kernels(folds, remainder, heads),
            choices={
                "levels": self.levels,
                "shifts": self.shifts and self.shifts.sd,
                "warp": self.units.warp and asdict(self.units.warp),
                "num_components": size,
                "evidence": {str(k): float(v.mean()) for k, v in evidence.items()},
                "noise_sd": float(remainder.noise.sqrt()),
                "remainder_sd": float(remainder.outputscale.sqrt()),
                "remainder_lengthscales": remainder.lengthscales.tolist(),
                "trend_slope": float(remainder.trend.slope),
                "trend_lengthscale": float(remainder.trend.lengthscale),
                "effects": None if effects is None else effects.summary(),
            },
        )

    def _judge(
        self, folds: list[Fold], found: LeftOutFit
    ) -> tuple[dict[int, Tensor], dict[int, Tensor], dict[int, HeadPrior]]:
        """For each size, the evidence of all left-out tasks, and the heads of the last fold.

        The second evidence is that of what follows their first observations, if tasks are few.
        """
        heads, sizes = self.heads, self.heads.num_components
        evidence: dict[int, Tensor] = {}
        late: dict[int, Tensor] = {}
        last: dict[int, HeadPrior] = {}
        with progress_bar(self.progress) as bar:
            # Larger mixtures take longer, about in proportion.
            row = bar.add_task("mixture", total=len(folds) * sum(sizes), loss=math.nan)
            for fold in folds:
                for size, head in candidates(fold, found, sizes, heads, self.seed):
                    mixture = assemble(head, found.remainder, fold)
                    judged = self._score(fold, mixture, heads.points)
                    evidence[size] = torch.cat([evidence.get(size, judged[:0]), judged])
                    if len(self.tasks) < FEW:
                        judged = judged - self._score(fold, mixture, min(_EARLY, heads.points))
                    late[size] = torch.cat([late.get(size, judged[:0]), judged])
                    last[size] = head
                    bar.update(row, advance=size, loss=-float(evidence[size].mean()))
                bar.update(row, advance=sum(sizes) - sum(evidence))  # sizes for more tasks
        return evidence, late, last

    def _score(self, fold: Fold, mixture: Mixture, points: int) -> Tensor:
        """The evidence of some observations of each left-out task, in the user's units.

        Of few tasks, it is the mean over several draws of them.
        """
        draws = max(_JUDGED // len(self.tasks), 1)
        found = []
        for seed in range(self.seed, self.seed + draws):
            generator = torch.Generator().manual_seed(seed)
            some = fold.held_out.some_observations(points, generator)
            evidence = score(fold.features.network, mixture, some)
            found.append(evidence + self.units.log_slopes(some))
        return torch.stack(found).mean(0)

    def _folds(self, groups: list[Tensor]) -> list[Fold]:
        select, count = self.tasks.select, len(self.tasks)
        parts = [(select(complement(group, count)), select(group)) for group in groups]
        features = self._features({f"fold{i}": part for i, part in enumerate(parts)})
        return [
            Fold(own, *part, self.levels, self.shifts)
            for own, part in zip(features, parts, strict=True)
        ]

    def _everything(self, folds: list[Fold]) -> Fold:
        """All tasks; the features of the only fold, which left-out tasks stopped, or new ones."""
        if len(folds) == 1:
            features = folds[0].features
        else:
            (features,) = self._features({"all": (self.tasks, None)})
        return Fold(features, self.tasks, self.tasks, self.levels, self.shifts)

    def _features(self, parts: dict[str, tuple[TaskBatch, TaskBatch | None]]) -> list[Features]:
        """A network for each part: tasks to train on, and left-out ones, if any."""
        if self.levels:
            parts = {
                f"levels-{name}": (without_levels(train), out and without_levels(out))
                for name, (train, out) in parts.items()
            }
        settings = self.features
        if self.shifts is not None:
            settings = for_copies(settings)
            parts = {
                f"shifted-{name}": (self.shifts.apply(train), out)
                for name, (train, out) in parts.items()
            }
        if self.units.warp is not None:
            parts = {f"warped-{name}": part for name, part in parts.items()}
        starts = [
            meta_learned(
                train,
                settings,
                seed=self.seed,
                progress=self.progress,
                records=self.records and self.records.named(name),
            )
            for name, (train, _) in parts.items()
        ]
        alone = len(parts) == 1  # one network has a bar of its own, several share one
        with progress_bar(self.progress and not alone) as bar:
            row = bar.add_task("features", total=len(parts), loss=math.nan)

            def finish(part: tuple[MLP, tuple[TaskBatch, TaskBatch | None]]) -> Features:
                start, (train, out) = part
                shown = self.progress and alone
                features = train_features(
                    start, train, out, settings, seed=self.seed, progress=shown
                )
                bar.advance(row)
                return features

            # Reptile is on all cores; what follows it is on one.
            return on_cores(finish, list(zip(starts, parts.values(), strict=True)))


def _smallest_good(evidence: dict[int, Tensor]) -> int:
    """The fewest components whose evidence is within one standard error of the best."""
    best = max(evidence, key=lambda size: float(evidence[size].mean()))
    for size in sorted(evidence):
        behind = evidence[best] - evidence[size]
        error = behind.std(correction=0) / len(behind) ** 0.5
        if float(behind.mean()) <= float(error):
            return size
    return best
