"""The GPU's kernel where there is no GPU: interpreted, and compiled for one."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy
import pytest
import torch
from packaging.version import Version

from metabo.meta_training import fused_kernel

triton = pytest.importorskip("triton")

INTERPRETED = """
import torch
from metabo.meta_training import fused_kernel
from metabo.meta_training.inner_loop import adapt_layers
from metabo.network import MLP

fused_kernel._multiprocessors = lambda device: 1  # there is none to ask
for activation in ("tanh", "relu", "silu", "sigmoid"):
    for sizes in ((1, 16, 16), (3, 20, 33, 7), (2, 5)):  # the second not in registers
        generator = torch.Generator().manual_seed(0)
        network = MLP(sizes[0], sizes[1:], activation, generator=generator)
        start = [w.detach() for w in network.layers]
        X = torch.randn(3, 6, 10, sizes[0], generator=generator).transpose(0, 1)  # as it is drawn
        Y = torch.sin(3 * X[..., 0])
        exact = adapt_layers([w.double() for w in start], activation, X.double(), Y.double(), 0.05)
        layers = [w.expand(3, *w.shape).clone() for w in start]
        losses = fused_kernel.descend(layers, activation, X, Y, 0.05)
        torch.testing.assert_close(losses.double(), exact.losses, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(layers, exact.layers, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.skipif(
    Version(triton.__version__) < Version("3.7") and Version(numpy.__version__) >= Version("2.4"),
    reason="this Triton's interpreter does not know this NumPy",
)
def test_interpreted_it_takes_the_steps_of_float64():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", INTERPRETED]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_where_it_cannot_be_made_another_way_is_taken_with_a_warning(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(fused_kernel, "_multiprocessors", lambda device: 132)
    weights = [torch.zeros(2, 8), torch.zeros(9, 1)]
    fused_kernel._has_kernel.cache_clear()
    with pytest.warns(RuntimeWarning, match="cannot make the inner loop's kernel"):
        assert not fused_kernel.can_run(weights, torch.zeros(2, 3, 4, 1))
    assert not fused_kernel.can_run(weights, torch.zeros(2, 3, 4, 1))  # and does not warn again
    fused_kernel._has_kernel.cache_clear()


@pytest.mark.parametrize("architecture", [80, 90])  # A100, H100
@pytest.mark.parametrize("sizes", [(1, 32, 32, 32), (3, 64, 64), (1, 128, 128, 128)])
def test_it_compiles_and_its_weights_fit_a_multiprocessor(sizes, architecture):
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from metabo.meta_training.triton_kernel import descend

    assert all(n <= fused_kernel.WIDEST for n in sizes)
    kinds = [("*fp32",) * len(sizes), *["*fp32"] * 3, *["i32"] * 7, "fp32", *["constexpr"] * 6]
    constants = fused_kernel.constants(sizes, 10, "tanh")
    places = {(descend.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(descend, dict(zip(descend.arg_names, kinds, strict=True)), places)
    for num_tasks in (10, 1000):
        options = {"num_warps": fused_kernel.num_warps(sizes, num_tasks, 132)}
        found = compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
        assert found.metadata.shared <= 99 << 10  # of the smallest multiprocessor that has TF32
