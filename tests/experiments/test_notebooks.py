"""The notebooks run from top to bottom, and show what they promise."""

from __future__ import annotations

import base64
import importlib.util
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jupytext
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PICTURES = {"getting_started": 4, "your_own_runs": 3}


def build_notebooks() -> ModuleType:
    path = EXPERIMENTS / "parts" / "build_notebooks.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_are_looked_at() -> None:
    assert {path.stem for path in build_notebooks().NOTEBOOKS} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_the_first_cell_installs_only_where_it_must(name: str) -> None:
    cells = jupytext.read(EXPERIMENTS / "notebooks" / f"{name}.py").cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    exec(first, {})  # metabo is here: nothing happens
    bare = [sys.executable, "-I", "-S", "-c", first]  # without packages: pip, but no such place
    failed = subprocess.run(bare, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "REPOSITORY" in failed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    notebook = build_notebooks().executed(EXPERIMENTS / "notebooks" / f"{name}.py", tmp_path)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    pictures = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == PICTURES[name]
    for picture in pictures:
        width, height = struct.unpack(">II", base64.b64decode(picture)[16:24])
        assert width > 250
        assert height > 200
    assert list(tmp_path.glob("*.safetensors"))
