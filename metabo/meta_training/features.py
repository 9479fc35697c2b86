"""Networks for groups of training tasks, never shown the left-out ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from metabo.meta_training.maml import FIRST_ORDER_MAML, MAML
from metabo.meta_training.meta_gradient import OuterLoopSettings
from metabo.meta_training.outer_loop import meta_learn
from metabo.meta_training.records import Records
from metabo.meta_training.refine import Refined, RefineSettings, refine
from metabo.meta_training.regression import regress
from metabo.meta_training.reptile import REPTILE, ReptileSettings
from metabo.mixture import HeadPrior, Remainder
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

FEW = 16  # with fewer tasks features are not refined, and every task is left out once
_MANY = 200  # with fewer tasks frozen features compete with refined ones
_MAX_FOLDS = 8
_COPIES_PER_STEP = (16, 32)  # of tasks, in Reptile and in refinement: as good as more
_ALGORITHMS = {algorithm.name: algorithm for algorithm in (REPTILE, FIRST_ORDER_MAML, MAML)}


@dataclass(frozen=True)
class FeatureSettings:
    """How the network is trained.

    Attributes:
        hidden: The widths of its hidden layers.
        activation: As in `MLP`.
        algorithm: "Reptile" or, to compare with it, "first-order MAML" or "MAML".
        reptile: Its outer and inner loop; if None, what follows starts from random weights.
        refine: What follows; not used with fewer than 16 tasks.
        regression_steps: How many Adam steps follow instead where fewer tasks have more
            observations than the network has weights; 0 for none.
    """

    hidden: tuple[int, ...] = (32, 32, 32)
    activation: str = "tanh"
    algorithm: str = "Reptile"
    reptile: OuterLoopSettings | None = field(
        default_factory=lambda: ReptileSettings(outer_steps=150)
    )
    refine: RefineSettings = field(default_factory=RefineSettings)
    regression_steps: int = 2000

    def __post_init__(self) -> None:
        if self.algorithm not in _ALGORITHMS:
            raise ValueError(
                f"algorithm must be one of {', '.join(_ALGORITHMS)}; got {self.algorithm!r}"
            )


def for_copies(settings: FeatureSettings) -> FeatureSettings:
    """Settings for few tasks with many copies, of which a step needs fewer."""
    of_reptile, of_refine = _COPIES_PER_STEP
    reptile, refine = settings.reptile, settings.refine
    if reptile is not None:
        reptile = replace(reptile, tasks_per_step=min(of_reptile, reptile.tasks_per_step))
    refine = replace(refine, tasks_per_step=min(of_refine, refine.tasks_per_step))
    return replace(settings, reptile=reptile, refine=refine)


@dataclass(frozen=True, eq=False)
class Features:
    """A network and where to start with what rests on it.

    Attributes:
        network: float64, frozen.
        head: One Gaussian over heads.
        remainder: The kernel of the remainder, and the noise.
    """

    network: MLP
    head: HeadPrior
    remainder: Remainder


def left_out(num_tasks: int, generator: torch.Generator) -> list[Tensor]:
    """Which tasks to leave out: a fifth, once, or with few tasks each in turn."""
    order = torch.randperm(num_tasks, generator=generator)
    if num_tasks >= FEW:
        return [order[: min(max(num_tasks // 5, 4), 512)]]
    if num_tasks == 1:
        return []
    return list(order.chunk(min(num_tasks, _MAX_FOLDS)))


def complement(index: Tensor, num_tasks: int) -> Tensor:
    """The tasks that are not in `index`."""
    kept = torch.ones(num_tasks, dtype=torch.bool)
    kept[index] = False
    return kept.nonzero().squeeze(-1)


def meta_learned(
    tasks: TaskBatch,
    settings: FeatureSettings,
    *,
    seed: int,
    progress: bool,
    records: Records | None = None,
) -> MLP:
    """A network that Reptile has meta-trained on tasks (X encoded, Y scaled)."""
    generator = torch.Generator().manual_seed(seed)
    network = MLP(tasks.X.shape[-1], settings.hidden, settings.activation, generator=generator)
    if settings.reptile is None:
        return network
    tasks_per_step = min(settings.reptile.tasks_per_step, len(tasks))
    return meta_learn(
        _ALGORITHMS[settings.algorithm],
        tasks,
        network,
        replace(settings.reptile, tasks_per_step=tasks_per_step),
        seed=seed,
        device=tasks.Y.device,
        progress=progress,
        records=records,
    )


def train_features(
    network: MLP,
    tasks: TaskBatch,
    held_out: TaskBatch | None,
    settings: FeatureSettings,
    *,
    seed: int,
    progress: bool,
) -> Features:
    """Go on from a meta-learned network.

    It is refined where tasks are many, and fitted to all observations at once where tasks are few
    and these outnumber its weights. Without left-out tasks, no refinement stops early.
    """
    few = len(tasks) + (0 if held_out is None else len(held_out)) < FEW
    if few and int(tasks.counts.sum()) > sum(layer.numel() for layer in network.layers):
        network = regress(network, tasks, settings.regression_steps, seed=seed)
    network = network.to(tasks.Y.device, torch.float64).requires_grad_(False)
    if few:
        return _unrefined(network, tasks)
    held_out = tasks if held_out is None else held_out
    refined = refine(network, tasks, held_out, settings.refine, seed=seed, progress=progress)
    if len(tasks) < _MANY:
        frozen = replace(settings.refine, feature_step_size=0.0)
        rival = refine(network, tasks, held_out, frozen, seed=seed, progress=progress)
        refined = max(refined, rival, key=lambda r: r.evidence)
    return _refined(refined)


def _refined(refined: Refined) -> Features:
    head = HeadPrior(refined.mean.new_zeros(1), refined.mean[None], refined.root[None])
    return Features(refined.network, head, refined.remainder)


def _unrefined(network: MLP, tasks: TaskBatch) -> Features:
    """Start from heads around Reptile's own, spread so that functions vary by the tasks' scale."""
    mean = network.layers[-1].detach().squeeze(-1)
    size = network.features(tasks.X).square().sum(-1).mean()
    root = torch.eye(len(mean)).to(mean) * (0.25 / size).sqrt()
    inputs = tasks.X.shape[-1]
    remainder = Remainder(
        outputscale=mean.new_tensor(0.1),
        lengthscales=mean.new_full((inputs,), math.sqrt(inputs)),
        noise=mean.new_tensor(0.01),
    )
    return Features(network, HeadPrior(mean.new_zeros(1), mean[None], root[None]), remainder)
