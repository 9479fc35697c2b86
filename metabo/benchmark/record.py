"""What a run leaves behind: tidy rows, and where they come from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from metabo.atomic import replacing
from metabo.meta_training.provenance import software

_MANY = 50_000  # rows: some 3 MB


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, to six significant digits."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")


def write_rows(rows: pd.DataFrame, folder: Path) -> Path:
    """Write `rows.csv`, or `rows.csv.gz` where it would be large; the other one is removed."""
    plain, packed = folder / "rows.csv", folder / "rows.csv.gz"
    path, other = (packed, plain) if len(rows) > _MANY else (plain, packed)
    write_table(rows, path)
    other.unlink(missing_ok=True)
    return path


def write_meta(path: Path, *, settings: dict[str, Any], seconds: float) -> None:
    """Write what has to be known to repeat a run: code, versions, machine, settings, command."""
    meta = {
        "command": [Path(sys.argv[0]).name, *map(_without_folder, sys.argv[1:])],
        "settings": settings,
        "seconds": round(seconds, 1),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "software": software(),
        **_commit(),
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(meta, indent=2, default=str) + "\n")


def _without_folder(argument: str) -> str:
    """Where somebody's folders are is theirs alone, and of no use to others."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _commit() -> dict[str, Any]:
    """The commit of the source, and whether it was changed; None where it is no git checkout."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return found.stdout.strip()

    # Results are written, and may replace older ones, before this is asked: they are not the code.
    code = ("--", ":/", ":(top,exclude)experiments/results")
    status = git("status", "--porcelain", "--untracked-files=no", *code)
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
