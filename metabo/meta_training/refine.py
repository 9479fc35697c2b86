r"""Refine features by the pooled marginal likelihood of a one-Gaussian head.

After Reptile, the network's features, a Gaussian over heads, the remainder's kernel and the noise
are moved together by Adam to raise

.. math::
    \sum_t \log N\big(y_t;\; \Phi_t m,\; \Phi_t R R^\top \Phi_t^\top + s^2 K_t + \sigma^2 I\big),

stopped where the likelihood of held-out tasks is best. With few tasks the features stay as they
are.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.adam import Adam, cooled
from metabo.meta_training.progress import progress_bar
from metabo.mixture.remainder import HeadTasks, Remainder, log_likelihood
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

_COOLED = 0.03  # what is left of the step sizes in the end


@dataclass(frozen=True)
class RefineSettings:
    """How features and hyperparameters are refined.

    Attributes:
        steps: Adam steps.
        step_size: For the head, the kernel and the noise; cooled to 3% along a cosine ...
        feature_step_size: ... as that for the network's weights; 0 freezes them.
        tasks_per_step: How many tasks a step sees.
        points_per_task: How many observations of each.
        patience: Stop after so many looks at the held-out tasks without a gain.
    """

    steps: int = 800
    step_size: float = 0.01
    feature_step_size: float = 0.006
    tasks_per_step: int = 64
    points_per_task: int = 20
    patience: int = 6


@dataclass(frozen=True, eq=False)
class Refined:
    """Network, Gaussian over heads (`p`, `p x p`) and remainder after refinement."""

    network: MLP
    mean: Tensor
    root: Tensor
    remainder: Remainder
    evidence: float  # mean log likelihood of a held-out task's observation, nats


class _Model(torch.nn.Module):
    """The parameters that move, and the likelihood that moves them."""

    def __init__(self, network: MLP, noise_floor: float) -> None:
        super().__init__()
        width, inputs = network.num_features, network.num_inputs
        # In single precision, which halves the time; covariances, nearly singular, are in double.
        self.network = copy.deepcopy(network).to(torch.float32).requires_grad_(True)
        dtype, device = torch.float64, self.network.layers[0].device
        self.mean = torch.nn.Parameter(self.network.layers[-1].detach().squeeze(-1).to(dtype))
        self.root = torch.nn.Parameter(0.3 * torch.eye(width, dtype=dtype, device=device))
        self.log_scale = torch.nn.Parameter(torch.tensor(-2.0, dtype=dtype, device=device))
        self.log_lengthscales = torch.nn.Parameter(
            torch.full((inputs,), 0.5 * math.log(inputs), dtype=dtype, device=device)
        )
        self.log_noise = torch.nn.Parameter(torch.tensor(-3.0, dtype=dtype, device=device))
        self.noise_floor = noise_floor

    def remainder(self) -> Remainder:
        noise = (2 * self.log_noise).exp() + self.noise_floor
        return Remainder((2 * self.log_scale).exp(), self.log_lengthscales.exp(), noise)

    def log_likelihood(self, tasks: TaskBatch) -> Tensor:
        """Per observation, `T`."""
        features = self.network.features(tasks.X.float()).double()
        seen = HeadTasks(features, tasks.X, tasks.Y, tasks.mask, self.mean, self.root)
        return log_likelihood(seen, self.remainder()) / tasks.counts


def refine(
    network: MLP,
    tasks: TaskBatch,
    held_out: TaskBatch,
    settings: RefineSettings,
    *,
    seed: int,
    progress: bool = True,
) -> Refined:
    """Refine a network on `tasks`, and keep what is best on `held_out`.

    Args:
        network: From Reptile; not changed.
        tasks: X encoded, Y scaled.
        held_out: Other tasks of the family, likewise.
        settings: Step sizes and numbers.
        seed: Decides which tasks and observations a step sees.
        progress: Whether to show a bar on the standard error.
    """
    model = _Model(network, noise_floor=1e-6)
    generator = torch.Generator(tasks.Y.device).manual_seed(seed)
    optimizer = Adam(_parameter_groups(model, settings))
    validation = held_out.some(256, settings.points_per_task, generator)
    best, best_state, since = -math.inf, copy.deepcopy(model.state_dict()), 0
    look = max(settings.steps // 20, 1)
    with progress_bar(progress) as bar:
        row = bar.add_task("refinement", total=settings.steps, loss=math.nan)
        for step in range(settings.steps):
            seen = tasks.some(settings.tasks_per_step, settings.points_per_task, generator)
            optimizer.step(
                -model.log_likelihood(seen).mean(), cooled(step / settings.steps, _COOLED)
            )
            if (step + 1) % look and step + 1 < settings.steps:
                continue
            with torch.no_grad():
                evidence = float(model.log_likelihood(validation).mean())
            since += 1
            if evidence > best:
                best, best_state, since = evidence, copy.deepcopy(model.state_dict()), 0
            bar.update(row, completed=step + 1, loss=-best)
            if since >= settings.patience:
                break
    model.load_state_dict(best_state)
    with torch.no_grad():
        remainder = model.remainder()
    network = model.network.to(torch.float64).requires_grad_(False)
    return Refined(network, model.mean.detach(), model.root.detach(), remainder, best)


def _parameter_groups(
    model: _Model, settings: RefineSettings
) -> list[tuple[list[torch.nn.Parameter], float]]:
    features = list(model.network.layers)[:-1]
    others = [p for name, p in model.named_parameters() if not name.startswith("network.")]
    if settings.feature_step_size > 0:
        return [(others, settings.step_size), (features, settings.feature_step_size)]
    model.network.requires_grad_(False)
    return [(others, settings.step_size)]
