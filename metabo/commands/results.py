"""`metabo results`: a page that says how methods compare, from the rows of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metabo.commands.terminal import console


def results(paths: Sequence[Path], *, title: str | None, out: Path) -> None:
    """Read the rows and write the page."""
    # Here, since figures take seconds to import.
    from metabo.benchmark.page import read_results, write_page

    experiments = [read_results(path) for path in paths]
    write_page(experiments, out, title=title or _title([e.title for e in experiments]))
    console().print(f"{out.resolve()}")


def _title(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else "Optimisation benchmark"
