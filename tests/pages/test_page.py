"""Values are written as people read them."""

from __future__ import annotations

import math

import pytest

from metabo.pages.page import bars, number, p_value

DASH = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456789, "1.2346"),
        (100000.0, "1e+05"),
        (0.0, "0"),
        (123456789, "123456789"),
        (True, "True"),
        ("<b>", "<b>"),
        (None, "None"),
        (math.nan, DASH),
        (-math.inf, DASH),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


def test_fewer_digits_and_p() -> None:
    assert number(1.23456789, 2) == "1.2"
    assert [p_value(p) for p in (0.0009, 0.001, 0.0123, math.nan)] == [
        "< 0.001",
        "0.001",
        "0.012",
        DASH,
    ]


def test_bars_are_shares_of_the_longest() -> None:
    found = bars({"noise": 0.5, "prior": 1.0, "none": 4.0}, "prior")
    assert [bar.share for bar in found] == [0.125, 0.25, 1.0]
    assert [bar.kind for bar in found] == ["other", "ours", "other"]
