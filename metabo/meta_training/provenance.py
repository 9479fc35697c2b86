"""What software made a Prior."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("metabo", "torch", "botorch", "gpytorch", "numpy", "scipy", "ConfigSpace")


def software() -> dict[str, str]:
    """The versions of Python, metabo and the libraries that decide the result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
