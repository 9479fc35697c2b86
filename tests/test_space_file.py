"""Inputs declared in a file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from metabo.column import SpaceError
from metabo.space_file import declared_space, read_declarations

FRAME = pd.DataFrame({"rate": [0.1, 0.2], "depth": [2.0, 4.0], "kernel": ["a", "b"]})


def test_what_is_declared_and_what_is_seen() -> None:
    declarations = {"rate": {"low": 1e-5, "high": 1, "log": True}, "kernel": ["a", "b", "c"]}
    space = declared_space(FRAME, ["kernel", "depth", "rate"], declarations)
    assert space.names == ("kernel", "depth", "rate")
    assert space.bounds.tolist() == [[0, 2, 1e-5], [2, 4, 1]]
    assert space.log_dims == (2,)
    assert space.integer_dims == (1,)
    assert space.categories == {"kernel": ("a", "b", "c")}


@pytest.mark.parametrize(
    ("declarations", "message"),
    [
        ({"rte": [1]}, "did you mean 'rate'"),
        ({"rate": {"low": 0}}, "'rate' is declared as"),
        ({"rate": {"low": 0, "high": 1, "type": "float"}}, "'rate' is declared as"),
        ({"rate": {"low": "0", "high": 1}}, "give numbers"),
        ({"rate": {"low": 1, "high": 0}}, "lower < upper"),
        (
            {"rate": {"low": 1, "high": 2, "log": "false"}},
            "'log' of 'rate' is \"false\": write true",
        ),
        ({"depth": {"low": 1, "high": 9, "integer": 1}}, "'integer' of 'depth' is 1: write true"),
        ({"depth": {"low": 1, "high": 9, "integer": None}}, "'integer' of 'depth' is null"),
        ({"kernel": []}, "'kernel' is declared as"),
        ({"kernel": ["a", "a"]}, "choices of 'kernel'"),
        ({"kernel": [["a"]]}, "choices of 'kernel'"),
    ],
)
def test_declarations_that_make_no_sense(declarations: dict, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        declared_space(FRAME, list(FRAME.columns), declarations)


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000])
def test_files_that_are_no_object(tmp_path: Path, content: str) -> None:
    path = tmp_path / "space.json"
    path.write_text(content)
    with pytest.raises(SpaceError, match=r"space\.json"):
        read_declarations(path)
