"""What a run leaves behind: tidy rows, and where they come from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from metabo.atomic import replacing
from metabo.meta_training.provenance import software
from metabo.table_file import write_table

_DIGITS = 6  # significant ones, of what is measured
_COLUMNS = {"problem", "task", "seed", "method", "n", "regret", "seconds"}
_MANY = 50_000  # rows: some 3 MB


@dataclass(frozen=True, eq=False)
class Results:
    """What an experiment left.

    Attributes:
        title: What it is called.
        rows: From `optimise`.
        failures: Cells that failed, with `error` and `traceback`.
        meta: Where the rows come from.
    """

    title: str
    rows: pd.DataFrame
    failures: Sequence[dict[str, Any]]
    meta: dict[str, Any]


def read_results(path: Path) -> Results:
    """Read an experiment's folder, or a file of rows with what lies beside it.

    Raises:
        OSError: If there are no rows there.
        ValueError: If a column is missing, or there is no row.
    """
    if path.is_dir():
        packed = path / "rows.csv.gz"
        path = packed if packed.exists() else path / "rows.csv"
    rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    if missing := sorted(_COLUMNS - set(rows.columns)):
        raise ValueError(f"{path} has no column {', '.join(missing)}: it is no benchmark's rows")
    if rows.empty:
        raise ValueError(f"{path} has no rows")
    rows = rows.astype({"task": str, "method": str, "problem": str})
    meta = _beside(path, "meta.json", {})
    title = str(meta.get("settings", {}).get("title") or path.resolve().parent.name)
    return Results(title, rows, _beside(path, "failures.json", []), meta)


def _beside(path: Path, name: str, default: Any) -> Any:
    other = path.with_name(name)
    return json.loads(other.read_text()) if other.exists() else default


def write_rows(rows: pd.DataFrame, folder: Path, name: str = "rows") -> Path:
    """Write `NAME.csv`, or `NAME.csv.gz` where it would be large; the other one is removed."""
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"
    path, other = (packed, plain) if len(rows) > _MANY else (plain, packed)
    write_table(rows, path, digits=_DIGITS)
    other.unlink(missing_ok=True)
    return path


def write_failures(failures: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the cells that failed, an empty list if none did."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(failures, indent=1, default=str) + "\n")


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
