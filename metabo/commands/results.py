"""`metabo results`: a page that says how methods compare, from the rows of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from metabo.benchmark.record import read_results
from metabo.commands.terminal import console
from metabo.table_file import refuse_overwriting


def results(paths: Sequence[Path], *, title: str | None, out: Path) -> None:
    """Read the rows and write the page."""
    # Here, since figures take seconds to import.
    from metabo.benchmark.page import write_page

    refuse_overwriting(out, *paths)
    experiments = []
    for path in paths:
        try:
            experiments.append(read_results(path))
        except pd.errors.EmptyDataError as error:
            raise ValueError(f"{path} is empty: name a file with a benchmark's rows") from error
    write_page(experiments, out, title=title or _title([e.title for e in experiments]))
    console().print(f"{out.resolve()}")


def _title(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else "Optimisation benchmark"
