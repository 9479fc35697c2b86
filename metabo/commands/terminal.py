"""What people read: tables on the standard output, notes on the standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 200  # where there is no terminal whose width would be the limit


def console() -> Console:
    """The standard output."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, markup=False, emoji=False)


def note(message: str) -> None:
    """Say something beside the result."""
    print(f"note: {message}", file=sys.stderr)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on the standard output; what is in the user's files is not read as markup."""
    table = Table(box=SIMPLE, collapse_padding=True)
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row))
    out = console()
    out.print(title)
    out.print(table)


def shown(value: Any) -> str:
    """A value as people read it: numbers to five digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def print_json(data: Any) -> None:
    """One JSON document on the standard output."""
    print(json.dumps(data, indent=2, allow_nan=False))
