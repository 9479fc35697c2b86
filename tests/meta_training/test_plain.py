"""Pooled kernels: recovered from tasks drawn from the very model that is fitted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from metabo.meta_training.features import Features
from metabo.meta_training.heads import Fold, HeadSettings
from metabo.meta_training.plain import fit_plain_kernels
from metabo.mixture import HeadPrior, Remainder, Trend
from metabo.mixture.components import matern52
from metabo.network import MLP
from metabo.prior import PlainKernels, Prior
from metabo.tasks import TaskBatch

NOISE = 0.02
NETWORK = MLP(1, (8, 4), generator=torch.Generator().manual_seed(0)).double().requires_grad_(False)
HEAD = torch.tensor([1.0, -0.5, 0.3, 0.8, 0.2], dtype=torch.float64)


def draw(num_tasks: int, lengthscale: float, seed: int, *, on_features: bool) -> TaskBatch:
    """Tasks whose residual about the mean has variance 0.5."""
    generator = torch.Generator().manual_seed(seed)
    X = 2 * torch.rand(num_tasks, 30, 1, generator=generator, dtype=torch.float64) - 1
    features = NETWORK.features(X)
    seen = features[..., :-1] if on_features else X
    scale = torch.full((seen.shape[-1],), lengthscale, dtype=torch.float64)
    covariance = 0.5 * matern52(seen, seen, scale) + NOISE * torch.eye(30)
    white = torch.randn(num_tasks, 30, 1, generator=generator, dtype=torch.float64)
    Y = features @ HEAD + (torch.linalg.cholesky(covariance) @ white).squeeze(-1)
    counts = torch.full((num_tasks,), 30)
    counts[:3] = 12  # padding must not count
    return TaskBatch(X, torch.where(torch.arange(30) < counts[:, None], Y, 0.0), counts)


def fold(*, on_features: bool, lengthscale: float) -> Fold:
    remainder = Remainder(*(torch.tensor(v).double() for v in (0.3, [1.0], 0.01)))
    head = HeadPrior(torch.zeros(1).double(), HEAD[None], 0.1 * torch.eye(5).double()[None])
    train, held_out = (draw(64, lengthscale, seed, on_features=on_features) for seed in (1, 2))
    return Fold(Features(NETWORK, head, remainder), train, held_out, False)


def fitted(folds: list[Fold]) -> PlainKernels:
    zero = torch.zeros((), dtype=torch.float64)
    remainder = replace(folds[0].features.remainder, trend=Trend(zero, zero.exp()))
    return fit_plain_kernels(folds, remainder, HeadSettings())


@pytest.mark.parametrize("on_features", [False, True])
def test_the_kernel_of_left_out_tasks_is_found(on_features: bool) -> None:
    folds = [fold(on_features=on_features, lengthscale=0.4)]
    found = fitted(folds)
    kernel = found.on_features if on_features else found.on_inputs
    assert kernel.outputscale == pytest.approx(0.5, rel=0.25)
    assert kernel.lengthscales == pytest.approx((0.4,), rel=0.25)
    assert kernel.noise == pytest.approx(NOISE, rel=0.25)


def test_kernels_are_saved_with_the_prior_in_words(tmp_path, make_prior) -> None:  # type: ignore[no-untyped-def]
    folds = [fold(on_features=True, lengthscale=0.4)]
    kernels = fitted(folds)
    path = tmp_path / "prior.safetensors"
    make_prior(plain=kernels).save(path)
    assert Prior.load(path).plain == kernels
    header = path.read_bytes()[8:].split(b'"metabo":', 1)[1]
    assert b'\\"on_inputs\\"' in header
    make_prior().save(path)
    assert Prior.load(path).plain is None
