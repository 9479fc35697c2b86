"""What counts as a measured value."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from metabo.measured import measured

POINT = {"x1": 0.5, "x2": 0.5}


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.0,
        torch.tensor(2.0),
        torch.tensor([[2.0]]),
        pd.Series([2.0])[0],
        np.float32(2),
        np.array(2),
        np.array([2.0]),
        Decimal(2),
    ],
)
def test_numbers_of_any_kind(value: object) -> None:
    found = measured(value, POINT)
    assert type(found) is float
    assert found == 2


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([1.0, 2.0]),
        torch.tensor([]),
        torch.tensor(1j),
        np.array([1.0, 2.0]),
        np.array("1"),
        pd.Series([1.0, 2.0]),
        [1.0],
        "1.0",
        None,
    ],
)
def test_values_that_are_not_one_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"heat must be one number; got (.|\n)* at {'x1': 0.5"):
        measured(value, POINT, "heat")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.array(np.nan), 10**400])
def test_numbers_that_are_not_finite(value: object) -> None:
    with pytest.raises(ValueError, match=r"y is .* at {'x1': 0.5.*: tell a failed evaluation"):
        measured(value, POINT)


def test_numbers_that_are_too_large() -> None:
    with pytest.raises(ValueError, match=r"y is -1e\+200 at .*: choose another unit"):
        measured(-1e200, POINT)
