"""The related code's way to run Reptile: `nn.Module`, `torch.optim.SGD`, one task at a time.

It takes the very draws that `metabo` takes, so that both leave the same weights.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor, nn

from metabo.cores import one_thread
from metabo.meta_training.reptile import ReptileSettings, reptile
from metabo.network import MLP
from metabo.tasks.task import TaskBatch


def as_module(network: MLP) -> nn.Sequential:
    """The same tanh network of `nn.Linear` layers."""
    modules: list[nn.Module] = []
    for layer in network.layers:
        linear = nn.Linear(layer.shape[0] - 1, layer.shape[1], dtype=layer.dtype)
        own = layer.detach().clone()
        linear.weight.data, linear.bias.data = own[:-1].T.contiguous(), own[-1]
        modules += [linear, nn.Tanh()]
    return nn.Sequential(*modules[:-1])


def train(
    network: nn.Module, tasks: TaskBatch, settings: ReptileSettings, *, seed: int, outer_steps: int
) -> None:
    """Take the first outer steps of Reptile, in place."""
    generator = torch.Generator().manual_seed(seed)
    shape = settings.tasks_per_step, settings.inner_steps, settings.points_per_step
    for step in range(outer_steps):
        X, Y = tasks.minibatch(shape[0], shape[1] * shape[2], generator)
        start = copy.deepcopy(network.state_dict())
        ends = []
        for x, y in zip(X.reshape(*shape, -1), Y.reshape(shape), strict=True):
            network.load_state_dict(start)
            _adapt(network, x, y, settings.inner_step_size)
            ends.append(copy.deepcopy(network.state_dict()))
        epsilon = settings.outer_step_size * (1 - step / settings.outer_steps)
        moved = {
            name: value + epsilon * (torch.stack([end[name] for end in ends]).mean(0) - value)
            for name, value in start.items()
        }
        network.load_state_dict(moved)


def _adapt(network: nn.Module, X: Tensor, Y: Tensor, step_size: float) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=step_size)
    loss = nn.MSELoss()
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        loss(network(x).squeeze(-1), y).backward()
        optimizer.step()


def compare(
    network: MLP, tasks: TaskBatch, loop: ReptileSettings, *, seed: int, repeats: int
) -> list[dict[str, str | int | float]]:
    """Seconds of an outer step, both ways by turns on one core; a row for each turn.

    A turn is a short slice of the work: 5 outer steps one task at a time, 200 of ours.
    """
    tasks, found = tasks.to(dtype=torch.float32), list[dict[str, str | int | float]]()
    few = replace(loop, outer_steps=200)
    with one_thread():
        for repeat in range(repeats):
            started = time.perf_counter()
            train(as_module(network), tasks, loop, seed=repeat + seed, outer_steps=5)
            between = time.perf_counter()
            reptile(tasks, network, few, seed=seed + repeat, device="cpu", progress=False)
            ours, theirs = time.perf_counter() - between, between - started
            turns = {"one task at a time": theirs / 5, "metabo": ours / 200}
            found += [{"loop": k, "repeat": repeat, "seconds_a_step": v} for k, v in turns.items()]
    return found


def ratio(timing: pd.DataFrame, outer_iterations: int) -> str:
    """What both would take for so many outer iterations, extrapolated from the slices."""
    medians = timing.groupby("loop")["seconds_a_step"].median()
    theirs, ours = medians["one task at a time"], medians["metabo"]
    return (
        f"{outer_iterations} outer iterations of Reptile one task at a time would take "
        f"{theirs * outer_iterations:.0f} s, metabo's {ours * outer_iterations:.0f} s (both "
        f"extrapolated from slices, on one core): {theirs / ours:.1f} times as long."
    )
