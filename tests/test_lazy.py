"""Names that are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import metabo
import metabo.tasks

PACKAGES = [metabo, metabo.tasks]
HEAVY = {"torch", "botorch", "gpytorch"}


def loaded(code: str) -> set[str]:
    """The modules that a new interpreter has after it ran this."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(found.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_is_there_is_what_type_checkers_see(package: object) -> None:
    """The names are written three times: for Python, for type checkers and in `__all__`."""
    tree = ast.parse(Path(str(package.__file__)).read_text())  # type: ignore[attr-defined]
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: getattr(importlib.import_module(str(node.module)), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: getattr(package, name) for name in package.__all__}  # type: ignore[attr-defined]
    assert {*seen} <= {*dir(package)}


def test_names_can_be_imported_and_unknown_ones_cannot() -> None:
    from metabo import Prior

    assert Prior is importlib.import_module("metabo.prior").Prior is metabo.Prior
    with pytest.raises(AttributeError, match="'metabo' has no attribute 'Priors'"):
        _ = metabo.Priors
    with pytest.raises(ImportError, match="Priors"):
        from metabo import Priors  # noqa: F401
    everything: dict[str, object] = {}
    exec("from metabo import *", everything)
    assert {*metabo.__all__} <= {*everything}


def test_names_are_there_before_they_are_used() -> None:
    code = "import metabo; assert 'Prior' in dir(metabo); assert 'Prior' not in vars(metabo)"
    assert not loaded(code) & (HEAVY | {"pandas"})


def test_the_command_line_is_light() -> None:
    run = "from metabo.cli import app; app({!r}, standalone_mode=False)"
    assert not loaded(run.format(["--help"])) & (HEAVY | {"pandas", "numpy"})


def test_a_check_of_a_table_needs_no_pytorch(tmp_path: Path) -> None:
    runs = tmp_path / "runs.csv"
    rows = [f"{task},{rate},{rate}" for task in range(5) for rate in (1, 10, 100, 2000)]
    runs.write_text("\n".join(["task,rate,yield", *rows]))
    command = ["check", str(runs), "--task", "task", "--output", "yield"]
    assert not loaded(f"from metabo.cli import app; app({command}, standalone_mode=False)") & HEAVY
