"""Tables in files: CSV and Parquet, standard input and output."""

from __future__ import annotations

import csv
import io
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pandas as pd

from metabo.atomic import replacing

# Not "None", which is a setting of many a program.
_MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null"]
_PARQUET = b"PAR1"  # how such a file begins


class TableFileError(ValueError):
    """A file is no table that can be read."""


def read_table(path: Path) -> pd.DataFrame:
    """Read CSV (UTF-8, commas, a header) or Parquet; `-` is the standard input.

    A file without any content is a table without columns.

    Raises:
        OSError: If the file cannot be read.
        TableFileError: If it is not text in UTF-8, or its header or a row is broken.
        ImportError: If it is Parquet and pyarrow is not installed.
    """
    return read_lines(path)[0]


def read_lines(path: Path) -> tuple[pd.DataFrame, Sequence[int]]:
    """As `read_table`, and on which line of the file each row begins, the first being 1.

    Blank lines, and cells of several, are no rows of their own.
    """
    content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    name = "standard input" if str(path) == "-" else str(path)
    try:
        if content.startswith(_PARQUET):
            frame = _parquet(content)
            lines: Sequence[int] = _plain_lines(len(frame))
        else:
            frame, lines = _csv(content)
    except (ValueError, OSError, csv.Error) as error:  # what pandas and pyarrow raise
        raise TableFileError(f"{name}: {error}") from error
    frame.columns = [str(column) for column in frame.columns]
    return frame, lines


def _parquet(content: bytes) -> pd.DataFrame:
    with needs_extra("parquet"):
        import_module("pyarrow")  # pandas would not say which package is missing
        return pd.read_parquet(io.BytesIO(content))


def _csv(content: bytes) -> tuple[pd.DataFrame, Sequence[int]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"line {line} is not in UTF-8 (byte {content[error.start]:#x}); save it as UTF-8"
        ) from error
    if not text.strip():
        return pd.DataFrame(), []
    header = next(csv.reader(io.StringIO(text, newline=None)), [])
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}; rename one")
    if len(header) == 1 and ({";", "\t"} & set(header[0])):
        raise ValueError(f"the header is {header[0]!r}; separate columns by commas")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO(text),
                index_col=False,
                low_memory=False,
                keep_default_na=False,
                na_values=_MISSING,
            )
        except pd.errors.ParserWarning as warning:
            raise ValueError(f"rows have more cells than the header: {len(header)}") from warning
    return frame, _lines(text, len(frame))


def _lines(text: str, num_rows: int) -> Sequence[int]:
    """On which line each row begins, as pandas counts rows."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if '"' not in text and not re.search(r"^[ \t]*\n", text, re.MULTILINE):
        return _plain_lines(num_rows)
    found, last, reader = [], 0, csv.reader(io.StringIO(text))
    for cells in reader:
        if len(cells) > 1 or "".join(cells).strip():
            found.append(last + 1)
        last = reader.line_num
    # With a row that is one empty cell in quotes, they are counted in another way.
    return found[1:] if len(found) == num_rows + 1 else _plain_lines(num_rows)


def _plain_lines(num_rows: int) -> range:
    """Below a header of one line, each row has its own."""
    return range(2, num_rows + 2)


def write_table(frame: pd.DataFrame, path: Path, *, digits: int | None = None) -> None:
    """Write a table by the file's ending, `.parquet` or else CSV; `-` is the standard output.

    Args:
        frame: The table; its index is not written.
        path: The file.
        digits: How many significant ones numbers have in CSV; all if None.

    Raises:
        OSError: If the file cannot be written; an existing one stays as it was then.
        ImportError: If it is to be Parquet and pyarrow is not installed.
    """
    if str(path) == "-":
        sys.stdout.write(frame.to_csv(index=False))
        return
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            with needs_extra("parquet"):
                import_module("pyarrow")
                frame.to_parquet(temporary)
        else:
            form = None if digits is None else f"%.{digits}g"
            frame.to_csv(temporary, index=False, float_format=form)


def refuse_overwriting(out: Path | None, *read: Path | None) -> None:
    """Refuse to write to a file that is read from; `-` is no file.

    Raises:
        ValueError: If `out` is one of the files.
    """
    if out is None or str(out) == "-":
        return
    for path in read:
        if path is not None and str(path) != "-" and path.resolve() == out.resolve():
            raise ValueError(f"{out} is read from and would be overwritten: write to another file")


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say how to install a package that is missing.

    Raises:
        ImportError: If one is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "metabo":
            raise
        message = f'{error.name} is not installed: pip install "metabo[{extra}]"'
        raise ImportError(message) from error
