"""What is compiled when metabo is installed."""

from __future__ import annotations

import platform
import shutil
from types import SimpleNamespace

import pytest
import torch

from metabo import native
from metabo.meta_training import fused_loop
from metabo.mixture import e_step


@pytest.mark.parametrize("module", [fused_loop, e_step])
def test_it_is_compiled_where_it_can_be(module):
    known = platform.system() == "Linux" and platform.machine() == "x86_64"
    if not known or not shutil.which("gcc"):
        pytest.skip("needs GCC, on Linux and x86-64")
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("needs a processor with AVX2")
    assert module.is_compiled()


@pytest.mark.parametrize("library", ["of another machine", "of older source"])
def test_a_library_that_does_not_fit_is_not_used(monkeypatch, tmp_path, library):
    broken = tmp_path / "_fused_loop.so"
    broken.write_bytes(b"not for this machine")
    other = torch._C.__file__  # has not got the function either
    spec = SimpleNamespace(origin=other if library == "of older source" else str(broken))
    monkeypatch.setattr(native, "find_spec", lambda name: spec)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.warns(RuntimeWarning, match="install metabo again"):
        assert native.load("metabo.meta_training._fused_loop", "descend_all") is None
