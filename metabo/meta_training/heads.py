"""The mixture over the heads of trained features, chosen on left-out tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from metabo.cores import on_cores, part_size
from metabo.meta_training.features import Features
from metabo.meta_training.levels import Levels, without_levels
from metabo.meta_training.shifts import Shifts
from metabo.mixture import (
    EMSettings,
    HeadPrior,
    HeadStatistics,
    HeadTasks,
    Mixture,
    Pairs,
    Remainder,
    Trend,
    broad_components,
    concatenate,
    condition,
    expectation,
    fit_gaussian,
    fit_mixture,
    fit_remainder,
)
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

_TASKS_PER_COMPONENT = 16
_GAUSSIAN = 1024  # training tasks that one Gaussian is fitted to, at most: more change nothing
_FIRST = 16  # training tasks a component, at most, that a mixture is first fitted to ...
_LAST = 64  # ... and in the end
_TREND_POINTS = 40  # observations of each training task that the mean function is from, at most
_TOGETHER = 2000  # observations of few training tasks that heads are from, for there is time
_SCORED = 16  # left-out tasks that are conditioned on at once
_HELD_OUT = 64  # left-out tasks that the remainder is fitted to, at most


@dataclass(frozen=True)
class HeadSettings:
    """How the mixture is fitted and chosen.

    Attributes:
        em: The expectation maximisation.
        num_components: The sizes that are tried, smallest first; a size that the training tasks
            are too few for is cut.
        points: How many observations of a left-out task it is judged by.
        points_per_task: How many observations of a long task are used at most; of few training
            tasks more.
    """

    em: EMSettings = field(default_factory=EMSettings)
    num_components: tuple[int, ...] = (1, 4, 128)
    points: int = 8
    points_per_task: int = 100


@dataclass(frozen=True, eq=False)
class Fold:
    """Features, the tasks that they come from, and tasks that they have not seen (model units)."""

    features: Features
    train: TaskBatch
    held_out: TaskBatch
    levels: bool
    shifts: Shifts | None = None

    @cached_property
    def trend(self) -> Tensor:
        """The head, `p`, of the family's mean function, in the units of the shapes."""
        tasks = _enough(self.seen.select(slice(0, _GAUSSIAN)), _TREND_POINTS)
        own = self.features
        statistics = HeadStatistics.of_tasks(
            own.network.features(tasks.X), tasks.X, tasks.Y, tasks.mask, own.remainder
        )
        return fit_gaussian(statistics, own.head, EMSettings()).means[0]

    @cached_property
    def shapes(self) -> TaskBatch:
        """The training tasks in the units that the mixture is learned in."""
        return without_levels(self.train) if self.levels else self.train

    @cached_property
    def seen(self) -> TaskBatch:
        """These and their shifted copies, if there are any: what the network and heads are from."""
        return self.shapes if self.shifts is None else self.shifts.apply(self.shapes)

    @cached_property
    def held_out_shapes(self) -> TaskBatch:
        """The left-out tasks in these units."""
        return without_levels(self.held_out) if self.levels else self.held_out


def assemble(
    head: HeadPrior,
    remainder: Remainder,
    fold: Fold,
    effects: tuple[float, float] | None = None,
) -> Mixture:
    """The components of the family and the broad ones; the fold's tasks give levels and trust.

    If points have effects, mean and standard deviation of a task's slope against them are given.
    """
    count, tasks, trend = len(head.log_weights), fold.train, remainder.trend
    assert trend is not None
    family = Mixture(
        log_weights=head.log_weights,
        means=head.means,
        roots=head.roots,
        outputscales=remainder.outputscale.expand(count),
        amplitudes=(trend.slope * fold.trend).expand(count, -1),
        lengthscales=remainder.lengthscales.expand(count, -1),
        trends=(fold.trend / trend.lengthscale).expand(count, -1),
        noises=remainder.noise.expand(count),
        is_broad=torch.zeros(count, dtype=torch.bool, device=head.means.device),
    )
    if effects is not None:
        family = family.with_feature(*effects)
    noise = remainder.noise
    if fold.levels:
        scales = Levels.of(tasks)
        family, noise = scales.apply(family), noise * scales.scales.median().square()
    broad = broad_components(family.means.shape[-1], tasks.X.shape[-1], float(noise))
    broad = broad.to(noise.device)
    # After T tasks of the family, the next one is not of it with probability 1 / (T + 2) (Laplace).
    share = max(1 / (len(tasks) + 2), 0.01)
    return concatenate([(1 - share, family), (share, broad)])


def fit_one(fold: Fold, remainder: Remainder, em: EMSettings, points: int) -> HeadPrior:
    """One Gaussian over the heads of the fold's training tasks."""
    statistics = _statistics(fold, slice(0, _GAUSSIAN), remainder, points)
    return fit_gaussian(statistics, fold.features.head, em)


@dataclass(frozen=True, eq=False)
class LeftOutFit:
    """What fits left-out tasks best.

    Attributes:
        remainder: The remainder.
        head_scale: The factor on the spread of the heads.
        heads: The heads of the sizes that were fitted on the way, for a start.
    """

    remainder: Remainder
    head_scale: float = 1.0
    heads: dict[int, HeadPrior] = field(default_factory=dict)


def fit_left_out_remainder(folds: list[Fold], settings: HeadSettings) -> LeftOutFit:
    """The remainder, and the scale of the head's spread, that fit left-out tasks best."""
    start = _mean_remainder([fold.features.remainder for fold in folds])
    trend = Trend(slope=torch.zeros_like(start.noise), lengthscale=torch.ones_like(start.noise))
    start = replace(start, trend=trend)
    head_scale = 1.0
    # Heads and remainder depend on each other; refined features start near both.
    for _ in range(2 if len(folds) > 1 else 1):
        groups = []
        for fold in folds:
            head = fit_one(fold, start, settings.em, settings.points_per_task)
            held_out = _shorten(fold.held_out_shapes, settings.points_per_task).select(
                slice(0, _HELD_OUT)
            )
            features = fold.features.network.features(held_out.X)
            groups.append(
                HeadTasks(
                    features,
                    held_out.X,
                    held_out.Y,
                    held_out.mask,
                    head.means[0],
                    head.roots[0],
                    fold.trend,
                )
            )
        start, head_scale = fit_remainder(groups, start)
    size = max(settings.num_components)
    if len(folds) == 1 and size > 1 and size * _TASKS_PER_COMPONENT <= len(folds[0].seen):
        # From the small side: a mixture beside a large remainder leaves too much to it.
        found = LeftOutFit(replace(start, outputscale=0.01 * start.outputscale), head_scale)
        heads = dict(candidates(folds[0], found, (size,), settings, 0, tasks_per_component=_FIRST))
        remainder = _fit_mixture_remainder(folds[0], found.remainder, heads[size], settings)
        return LeftOutFit(remainder, head_scale, heads)
    return LeftOutFit(start, head_scale)


def _fit_mixture_remainder(
    fold: Fold, start: Remainder, head: HeadPrior, settings: HeadSettings
) -> Remainder:
    """The remainder that fits left-out tasks best, each of the component it likeliest comes from.

    Under one Gaussian the remainder also stands for what is not Gaussian in the heads, which many
    components say better: it would leave them too wide.
    """
    tasks = _shorten(fold.held_out_shapes, settings.points_per_task).select(slice(0, _HELD_OUT))
    features = fold.features.network.features(tasks.X)
    statistics = HeadStatistics.of_tasks(features, tasks.X, tasks.Y, tasks.mask, start, fold.trend)
    every = Pairs.every(len(tasks), len(head.roots), features.device)
    best = expectation(statistics, head, every).shares.view(len(tasks), -1).argmax(-1)
    left = tasks.Y - (features @ head.means[best].unsqueeze(-1)).squeeze(-1)
    nothing = torch.zeros_like(head.means[0])
    own = HeadTasks(features, tasks.X, left, tasks.mask, nothing, head.roots[best], fold.trend)
    return fit_remainder([own], start)[0]


def score(network: MLP, mixture: Mixture, tasks: TaskBatch) -> Tensor:
    """The log evidence, `T`, of all that is known of each of some tasks."""
    # Tasks of one length are conditioned together; padding would count as observations.
    lengths = [(tasks.counts == n).nonzero().squeeze(-1) for n in tasks.counts.unique()]
    parts = [part for these in lengths for part in these.split(part_size(_SCORED, these.device))]

    def of(these: Tensor) -> Tensor:
        count = int(tasks.counts[these[0]])
        X, Y = tasks.X[these, :count], tasks.Y[these, :count]
        return condition(mixture, network.features(X), X, Y).log_evidence

    evidence = tasks.Y.new_empty(len(tasks))
    for these, found in zip(parts, on_cores(of, parts), strict=True):
        evidence[these] = found
    return evidence


def candidates(
    fold: Fold,
    found: LeftOutFit,
    sizes: tuple[int, ...],
    settings: HeadSettings,
    seed: int,
    *,
    tasks_per_component: int = _LAST,
) -> Iterator[tuple[int, HeadPrior]]:
    """Each number of components, cut to what the fold's tasks can carry, with the fitted heads."""
    most = max(len(fold.seen) // _TASKS_PER_COMPONENT, 1)
    enough = {
        size: slice(0, max(tasks_per_component * size, _GAUSSIAN))
        for size in sorted({min(size, most) for size in sizes})
    }
    statistics = _statistics(fold, enough[max(enough)], found.remainder, settings.points_per_task)
    one = fit_gaussian(statistics.select(slice(0, _GAUSSIAN)), fold.features.head, settings.em)
    one = HeadPrior(one.log_weights, one.means, one.roots * found.head_scale)
    for size, tasks in enough.items():
        start = found.heads.get(size)
        yield (
            size,
            fit_mixture(statistics.select(tasks), one, size, settings.em, seed=seed, start=start),
        )


def _statistics(fold: Fold, index: slice, remainder: Remainder, points: int) -> HeadStatistics:
    """Of the tasks at `index`, of those that the fold has seen."""
    tasks = _enough(fold.seen.select(index), points)
    features = fold.features.network.features(tasks.X)
    return HeadStatistics.of_tasks(features, tasks.X, tasks.Y, tasks.mask, remainder, fold.trend)


def _mean_remainder(remainders: list[Remainder]) -> Remainder:
    def mean(values: list[Tensor]) -> Tensor:
        return torch.stack(values).log().mean(0).exp()

    return Remainder(
        mean([r.outputscale for r in remainders]),
        mean([r.lengthscales for r in remainders]),
        mean([r.noise for r in remainders]),
    )


def _enough(tasks: TaskBatch, points: int) -> TaskBatch:
    """So many observations of each task, or more where tasks are few."""
    return _shorten(tasks, max(points, _TOGETHER // len(tasks)))


def _shorten(tasks: TaskBatch, points: int) -> TaskBatch:
    """At most so many observations of each task, whose rows are in random order."""
    return TaskBatch(tasks.X[:, :points], tasks.Y[:, :points], tasks.counts.clamp_max(points))
