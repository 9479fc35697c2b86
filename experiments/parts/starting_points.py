"""Where adapting to a curve may start from: meta-trained, pre-trained on all curves, or random.

All start from the same random weights, and all but random initialisation are trained by metabo's
one outer loop on the same tasks; they differ in where an outer step moves the weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from metabo.meta_training.learner import Learner
from metabo.meta_training.maml import FIRST_ORDER_MAML, MAML
from metabo.meta_training.meta_gradient import Displacement, MetaGradient, OuterLoopSettings
from metabo.meta_training.outer_loop import meta_learn
from metabo.meta_training.records import Records
from metabo.meta_training.reptile import REPTILE
from metabo.network import MLP
from metabo.tasks import FunctionFamily
from metabo.tasks.task import TaskBatch

RANDOM = "random initialisation"


def _joint(
    learner: Learner, weights: list[Tensor], X: Tensor, Y: Tensor, step_size: float
) -> Displacement:
    """Down the gradient of the loss on all minibatches of all tasks at once: no adapting."""
    one = learner.adapt(weights, X.reshape(1, 1, -1, X.shape[-1]), Y.reshape(1, 1, -1), 1.0)
    moved = [after[0] - before for after, before in zip(one.layers, weights, strict=True)]
    return Displacement(moved, one.losses[0].expand(2))


JOINT = MetaGradient("joint pre-training", _joint)
ALGORITHMS = {a.name: a for a in (REPTILE, FIRST_ORDER_MAML, MAML, JOINT)}


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of a family on one grid of points, in model units: `y = offset + scale * model`.

    Attributes:
        batch: Encoded points, `T x n x 1`, and noisy observations, `T x n`.
        truth: Without the noise, `T x n`.
        offset: Of the model units; the mean of the training curves.
        scale: Their standard deviation.
        radius: x is from minus to plus this.
    """

    batch: TaskBatch
    truth: Tensor
    offset: float
    scale: float
    radius: float

    def users_x(self, encoded: Tensor) -> Tensor:
        """Points in the user's units: numbers are encoded from minus to plus sqrt 3."""
        x = encoded.double() * (self.radius / 3**0.5)
        return x.clamp(-self.radius, self.radius)


def curves(
    family: FunctionFamily,
    num_curves: int,
    num_points: int,
    *,
    seed: int,
    like: Curves | None = None,
) -> Curves:
    """Draw curves, each observed at evenly spaced points, in the units of `like` or their own."""
    parameters = family.draw(num_curves, seed)
    unit = torch.linspace(0, 1, num_points, dtype=torch.float64)[:, None]
    X = family.space.from_unit(unit).expand(num_curves, -1, -1)
    truth = family.evaluate(parameters, X)
    generator = torch.Generator().manual_seed(seed + 1)  # the seed itself drew the parameters
    noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    offset, scale = (like.offset, like.scale) if like else (float(truth.mean()), float(truth.std()))
    model = (truth - offset) / scale
    batch = TaskBatch(
        family.space.encode(X),
        model + family.noise_sd / scale * noise,
        torch.full((num_curves,), num_points),
    )
    return Curves(batch, model, offset, scale, float(X.max()))


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to start from, and what they cost.

    Attributes:
        name: Of the way to them.
        network: The weights.
        loop: How they were trained; None for random weights.
        seconds: How long that took.
    """

    name: str
    network: MLP
    loop: OuterLoopSettings | None
    seconds: float

    def cost(self) -> dict[str, str | int | float]:
        """A row for a table: how often the weights were moved, by how much work."""
        steps = self.loop.outer_steps if self.loop else 0
        return {"method": self.name, "outer_iterations": steps, "seconds": self.seconds}


def train_start(
    name: str,
    tasks: TaskBatch,
    settings: OuterLoopSettings | None,
    *,
    width: int,
    seed: int,
    curve: Path | None = None,
) -> Start:
    """Train one start; `settings` is None for random weights.

    Args:
        name: One of `ALGORITHMS`, or `RANDOM`.
        tasks: The training tasks, in model units.
        settings: The outer and inner loop.
        width: Of the three hidden layers.
        seed: Of the first weights, and of all draws.
        curve: A folder for `NAME.csv`, the training curve, if wanted.
    """
    network = MLP(1, (width,) * 3, generator=torch.Generator().manual_seed(seed))
    if settings is None:
        return Start(name, network, None, 0.0)
    started = time.perf_counter()
    network = meta_learn(
        ALGORITHMS[name],
        tasks,
        network,
        settings,
        seed=seed,
        device="cpu",
        progress=False,
        records=Records(curve=curve and curve / f"{name}.csv"),
    )
    return Start(name, network, settings, time.perf_counter() - started)
