"""From a family of tasks to a Prior."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace

import torch

from metabo.cores import one_thread
from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.fit_warp import fit_warp
from metabo.meta_training.heads import HeadSettings
from metabo.meta_training.outer_loop import choose_device
from metabo.meta_training.parameters import parameter_map
from metabo.meta_training.provenance import software
from metabo.meta_training.records import Records
from metabo.meta_training.refine import RefineSettings
from metabo.meta_training.repeatable import repeatable
from metabo.meta_training.reptile import ReptileSettings
from metabo.meta_training.shifts import Shifts, may_help
from metabo.meta_training.units import Units
from metabo.meta_training.way import Fit, Way
from metabo.prior import Prior
from metabo.seed import check_seed
from metabo.tasks.tables import TableFamily
from metabo.tasks.task import TaskBatch, TaskFamily
from metabo.warp import Warp

_PADDED = 2_000_000  # observations of all tasks together, padding and all
_LEAST = 1000  # of one task, however many there are
_FEW_OF_ONE_POINT = 4  # observations: no kernel can be fitted to the only task
_ALIKE = 1e-9  # are outputs that differ by no more; those of all tasks have a deviation of 1


@dataclass(frozen=True)
class MetaTrainSettings:
    """How a Prior is made.

    Attributes:
        num_tasks: How many tasks are drawn from a family in closed form; a table has its own.
        points_per_task: How many observations of each.
        table_points_per_task: How many of a long task in a table at most.
        shift_sd: The standard deviation of the shifts that few short tasks are also seen with, if
            left-out ones gain by it; encoded inputs have a range of 2 sqrt(3). 0 for none.
        features: The network.
        heads: The mixture.
    """

    num_tasks: int = 8000
    points_per_task: int = 40
    table_points_per_task: int = 30_000
    shift_sd: float = 0.2
    features: FeatureSettings = field(default_factory=FeatureSettings)
    heads: HeadSettings = field(default_factory=HeadSettings)

    @classmethod
    def smoke(cls) -> MetaTrainSettings:
        """As small as can be: whether it runs, not how good it is."""
        features = FeatureSettings(
            hidden=(16, 16),
            reptile=ReptileSettings(outer_steps=10, inner_steps=10),
            refine=RefineSettings(steps=20),
            regression_steps=20,
        )
        return cls(num_tasks=100, points_per_task=10, table_points_per_task=200, features=features)


def meta_train(
    family: TaskFamily,
    *,
    seed: int = 0,
    settings: MetaTrainSettings = MetaTrainSettings(),
    device: torch.device | str = "auto",
    progress: bool = True,
    records: Records | None = None,
) -> Prior:
    """Meta-train a Prior: Reptile, refinement of the features, the mixture over heads.

    Whether outputs are warped and tasks have levels of their own, the number of components, the
    remainder and the noise are chosen by the evidence of left-out training tasks.

    Args:
        family: Where training tasks come from.
        seed: Decides everything: the same seed gives the same Prior on the same machine.
        settings: Numbers of tasks and steps, and step sizes.
        device: "auto" is CUDA where there is one. The Prior comes back on the CPU.
        progress: Whether to show what is being done, and the time left, on the standard error.
        records: Checkpoints to resume Reptile from, and its training curve. Where several networks
            are trained, each has its own: the part of the tasks that it sees is added to the names.

    Raises:
        ValueError: If the seed is negative or too large, there is no such device, or the
            observations of a table are too few to learn from.
        DivergedError: If Reptile's inner loop stops being finite.
        CheckpointError: If a checkpoint to resume from is broken or of another run.
    """
    check_seed(seed)
    device = choose_device(device)
    started = time.perf_counter()
    is_table = isinstance(family, TableFamily)
    raw = family.batch(settings.num_tasks, points_per_task(family, settings), seed=seed)
    inputs = family.space.encode(raw.X)
    _refuse_too_few(replace(raw, X=inputs))
    # One thread for small products; what is worth it is spread over the cores.
    with one_thread(), repeatable(device):
        found = fit_warp(inputs, raw, seed=seed) if is_table else None

        def fit(warp: Warp | None, levels: bool, shifts: Shifts | None = None) -> Fit:
            units = Units.of(raw, warp)
            return Way(
                tasks=units.tasks(inputs, raw).to(device),
                units=units,
                levels=levels,
                shifts=shifts,
                features=settings.features,
                heads=settings.heads,
                seed=seed,
                progress=progress,
                records=records,
            ).fit()

        has_levels = [False, True] if is_table and len(raw) > 1 else [False]
        fits = [fit(found, levels) for levels in has_levels]
        if found is not None:  # a warp that was found without features may be worth less with them
            fits.append(fit(None, max(fits, key=_evidence).levels))
        best = max(fits, key=_evidence)
        numeric = family.space.dim - len(family.space.categorical_dims)
        wanted = settings.shift_sd > 0 and may_help(raw, numeric)
        if wanted and _vary(best.units.tasks(inputs, raw), best.levels):
            shifts = Shifts(settings.shift_sd, numeric, seed)
            shifted = fit(best.units.warp, best.levels, shifts)
            best = shifted if _is_clearly_better(shifted, best) else best
        tasks = best.units.tasks(inputs, raw).to(device)
        parameters = parameter_map(family, best, tasks, seed=seed)
    return Prior(
        network=best.network.to("cpu"),
        mixture=best.mixture.to("cpu"),
        known=best.known and best.known.to("cpu"),
        space=family.space,
        output_offset=best.units.offset,
        output_scale=best.units.scale,
        warp=best.units.warp,
        minimize=getattr(family, "minimize", False),
        provenance={
            "software": software(),
            "family": family.describe(),
            "data": {"num_tasks": len(tasks), "num_observations": int(raw.counts.sum())},
            "seed": seed,
            "device": device.type,
            "settings": asdict(settings),
            "chosen": best.choices,
            "seconds": round(time.perf_counter() - started, 3),
        },
        plain=best.plain,
        parameters=parameters and parameters.to("cpu"),
    )


def points_per_task(family: TaskFamily, settings: MetaTrainSettings) -> int:
    """How many observations of a task are seen at most.

    All tasks are padded to the longest: of a table of very many, long ones are cut.
    """
    if not isinstance(family, TableFamily):
        return settings.points_per_task
    num_tasks = min(len(family.names), settings.num_tasks)
    return min(settings.table_points_per_task, max(_PADDED // num_tasks, _LEAST))


def _refuse_too_few(tasks: TaskBatch) -> None:
    total = int(tasks.counts.sum())
    if total == 1:
        raise ValueError("there is one observation: nothing can be learned from it, give more")
    few = int(tasks.counts.max()) == 1 or (len(tasks) == 1 and total <= _FEW_OF_ONE_POINT)
    if few and _is_one_point(tasks):
        raise ValueError(
            "all observations are of one point, and too few to tell tasks from noise: give some at "
            "other points"
        )


def _is_one_point(tasks: TaskBatch) -> bool:
    return bool((tasks.X[0, 0] == tasks.X).all())  # padding repeats a point of the task


def _vary(tasks: TaskBatch, levels: bool) -> bool:
    """Whether inputs do, and outputs, whichever task is left out: else shifted copies are alike."""
    if _is_one_point(tasks):
        return False
    Y, mask, inf = tasks.Y, tasks.mask, math.inf
    if levels:
        Y = Y - Y.sum(-1, keepdim=True) / tasks.counts[:, None]
    lows, highs = Y.where(mask, inf).amin(-1), Y.where(mask, -inf).amax(-1)
    others = ~torch.eye(len(tasks), dtype=torch.bool)
    spreads = highs.where(others, -inf).amax(-1) - lows.where(others, inf).amin(-1)
    return bool((spreads > _ALIKE).all())


def _evidence(fit: Fit) -> float:
    return float(fit.evidence.mean())


def _is_clearly_better(one: Fit, other: Fit) -> bool:
    """Whether what is gained is more than its standard error over the left-out tasks."""
    gain = one.evidence - other.evidence
    return float(gain.mean()) > float(gain.std(correction=0)) / len(gain) ** 0.5
