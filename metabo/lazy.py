"""Names of a package that are imported when they are first used (PEP 562).

PyTorch and BoTorch take seconds to import. What needs neither, such as `metabo --help`, does not
wait for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package.

    Args:
        package: Its `__name__`.
        homes: The module in which each name is defined.
    """
    attributes = vars(sys.modules[package])

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        attributes[name] = getattr(import_module(homes[name]), name)
        return attributes[name]

    def dir_() -> list[str]:
        return sorted({*attributes, *homes})

    return getattr_, dir_
