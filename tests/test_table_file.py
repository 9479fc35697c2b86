"""Tables in files."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path

import pandas as pd
import pytest

from metabo.table_file import TableFileError, needs_extra, read_lines, read_table, write_table


def read(tmp_path: Path, content: bytes) -> pd.DataFrame:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    return read_table(path)


def test_numbers_text_and_missing_cells(tmp_path: Path) -> None:
    frame = read(tmp_path, b'a,b,c\n1,"x, y",None\n,NA,2.5\n')
    assert frame["a"].isna().tolist() == [False, True]
    assert frame["b"].iloc[0] == "x, y"
    assert frame["b"].isna().tolist() == [False, True]
    assert frame["c"].tolist() == ["None", "2.5"]  # None is a setting of many a program


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n3,4\n", [2, 3]),
        (b"\n\na,b\n1,2\n\n3,4", [4, 6]),
        (b'a,b\n"x\n\ny",2\n3,4\n', [2, 5]),
        (b"a\n1\n\n2\n", [2, 4]),
        (b'a\n1\n\n""\n', [2, 3]),  # pandas takes the last line for a row: lines are not known
        (b"a\r1\r\r2\r", [2, 4]),
        (b"", []),
    ],
)
def test_lines_of_rows(tmp_path: Path, content: bytes, expected: list[int]) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    frame, lines = read_lines(path)
    assert list(lines) == expected
    assert len(frame) == len(expected)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_nothing(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content).empty
    assert len(read(tmp_path, content).columns) == 0


def test_a_header_alone_and_a_byte_order_mark(tmp_path: Path) -> None:
    assert list(read(tmp_path, b"\xef\xbb\xbfa,b\n").columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,\xe9\n".encode("latin-1"), r"runs.csv: line 3 is not in UTF-8 \(byte 0xe9\)"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is not in UTF-8"),
        (b"a,b,a\n1,2,3\n", "two columns are called 'a'"),
        (b"a;b\n1;2\n", "separate columns by commas"),
        (b"a,b\n1,2,3\n4,5,6\n", "more cells than the header"),
        (b"a,b\n1,2\n3,4,5\n", "line 3"),
        (b'a,b\n1,"2\n', "EOF"),
        (b"PAR1 is how Parquet begins", "runs.csv"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    if content.startswith(b"PAR1"):
        pytest.importorskip("pyarrow")
    with pytest.raises(TableFileError, match=message):
        read(tmp_path, content)


FRAME = pd.DataFrame({"x": [0.1, 1e-300], "n": [1, 2], "kind": ["a,b", 'c"d\n']})


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / "new" / f"runs.{ending}"
    write_table(FRAME, path)
    pd.testing.assert_frame_equal(read_table(path), FRAME)


def test_standard_input_and_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(FRAME, Path("-"))
    written = io.BytesIO(capsys.readouterr().out.encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(written))
    pd.testing.assert_frame_equal(read_table(Path("-")), FRAME)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    message = r'^pyarrow is not installed: pip install "metabo\[parquet\]"$'
    with pytest.raises(ImportError, match=message):
        write_table(FRAME, tmp_path / "runs.parquet")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ImportError, match=message):
        read(tmp_path, b"PAR1")


def test_a_missing_package_is_named_with_its_extra() -> None:
    message = r'none_such is not .*pip install "metabo\[demo\]"'
    with pytest.raises(ImportError, match=message), needs_extra("demo"):
        importlib.import_module("none_such")
