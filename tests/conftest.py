"""Small Priors, made by hand: no training, so that tests are fast and know what to expect."""

import math
import os
from collections.abc import Callable
from typing import Any

import ConfigSpace as CS
import pytest
import torch
from torch import Tensor

from metabo.known_points import KnownPoints
from metabo.mixture import Mixture, broad_components, concatenate
from metabo.network import MLP
from metabo.prior import Prior
from metabo.space import InputSpace


def _network(num_inputs: int, width: int = 6, seed: int = 0) -> MLP:
    return MLP(num_inputs, (8, width), generator=torch.Generator().manual_seed(seed)).double()


def _mixture(
    num_components: int,
    width: int,
    inputs: int,
    seed: int = 0,
    amplitude: float = 0.0,
    trend: float = 0.0,
) -> Mixture:
    """Components that differ in everything."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        draws = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return low + (high - low) * draws

    return Mixture(
        log_weights=uniform(-1, 1, num_components).log_softmax(-1),
        means=uniform(-1, 1, num_components, width),
        roots=uniform(-0.5, 0.5, num_components, width, 3),
        outputscales=uniform(0.02, 0.2, num_components),
        lengthscales=uniform(0.5, 2, num_components, inputs),
        noises=uniform(0.005, 0.02, num_components),
        is_broad=torch.zeros(num_components, dtype=torch.bool),
        amplitudes=uniform(-amplitude, amplitude, num_components, width),
        trends=uniform(-trend, trend, num_components, width),
    )


def _prior(
    space: InputSpace | None = None,
    *,
    num_components: int = 4,
    broad: float = 0.0,
    amplitude: float = 0.0,
    trend: float = 0.0,
    offset: float = 3.0,
    scale: float = 2.0,
    seed: int = 0,
    known: int = 0,
    **settings: Any,
) -> Prior:
    space = InputSpace.from_bounds([[-4.0, 0.0], [4.0, 1.0]]) if space is None else space
    mlp = _network(space.encoded_dim, seed=seed)
    mixture = _mixture(num_components, mlp.num_features, space.encoded_dim, seed, amplitude, trend)
    if known > 0:
        inputs = space.encode(space.sample(known, seed=seed))
        settings["known"] = KnownPoints(inputs, torch.linspace(-1, 2, known).double())
        mixture = mixture.with_feature(0.7, 0.4)
    if broad > 0:
        other = broad_components(mixture.means.shape[-1], space.encoded_dim, 0.01)
        mixture = concatenate([(1 - broad, mixture), (broad, other)])
    return Prior(mlp, mixture, space, offset, scale, **settings)


def _mixed_space() -> InputSpace:
    space = CS.ConfigurationSpace()
    space.add(
        CS.Float("rate", (1e-4, 1.0), log=True),
        CS.Integer("depth", (1, 6)),
        CS.CategoricalHyperparameter("kernel", ["rbf", "linear", "poly"]),
    )
    return InputSpace(space, ["rate", "depth", "kernel"])


def _observations(prior: Prior, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of the prior's space and values at its scale."""
    X = prior.space.sample(n, seed=seed)
    U = prior.space.to_unit(X)
    Y = prior.output_offset + prior.output_scale * (math.pi * U).sin().sum(-1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    return X, Y + 0.1 * prior.output_scale * noise


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """A GPU; with METABO_TEST_DEVICE=cpu, tests that ask for one run on the CPU."""
    device = torch.device(os.environ.get("METABO_TEST_DEVICE", "cuda"))
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return device


@pytest.fixture(scope="session")
def make_prior() -> Callable[..., Prior]:
    """A Prior of any size: two inputs, four components and no broad ones unless asked."""
    return _prior


@pytest.fixture(scope="session")
def observe() -> Callable[..., tuple[Tensor, Tensor]]:
    return _observations


@pytest.fixture
def prior() -> Prior:
    """Two inputs, four components and the broad ones."""
    return _prior(broad=0.1)


@pytest.fixture
def prior_of_points() -> Prior:
    """Effects of 30 single points, and else as `prior`."""
    return _prior(broad=0.1, known=30)


@pytest.fixture
def mixed_prior() -> Prior:
    """A float on a log scale, an integer and a category."""
    return _prior(_mixed_space(), broad=0.1)
