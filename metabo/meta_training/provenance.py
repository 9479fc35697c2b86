"""What software made a Prior."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from metabo.meta_training import fused_loop
from metabo.mixture import e_step

_PACKAGES = ("metabo", "torch", "botorch", "gpytorch", "numpy", "scipy", "ConfigSpace")


def software() -> dict[str, str]:
    """What decides the result: versions of Python, metabo and libraries, and what is compiled."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    for name, part in {"inner loop": fused_loop, "E step": e_step}.items():
        found[name] = "compiled" if part.is_compiled() else "PyTorch"
    return found
