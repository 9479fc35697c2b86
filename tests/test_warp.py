"""The warp of outputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabo.warp import Warp

WARPS = [Warp(0.0, 1.0, 0.0, 1.0), Warp(3.0, 0.2, -1.5, 0.3), Warp(-1e6, 1e4, 2.0, 1.0)]
ANY = st.builds(
    Warp,
    center=st.floats(-1e3, 1e3),
    spread=st.floats(1e-3, 1e3),
    skew=st.floats(-2, 2),
    tail=st.floats(0.1, 1),
)


def test_by_numpy() -> None:
    y = np.array([-4.0, 0.5, 3.0, 3.4, 1e3])
    expected = np.sinh(0.3 * np.arcsinh((y - 3.0) / 0.2) + 1.5)
    np.testing.assert_allclose(WARPS[1](torch.from_numpy(y)), expected)


def test_without_skew_and_tail_it_is_linear() -> None:
    y = torch.linspace(-9, 9, 7).double()
    torch.testing.assert_close(Warp(1.0, 2.0, 0.0, 1.0)(y), (y - 1) / 2)


@given(warp=ANY, z=st.floats(-30, 30))
@settings(max_examples=50, deadline=None)
def test_it_is_undone_and_rises(warp: Warp, z: float) -> None:
    y = torch.tensor([warp.center + warp.spread * z, warp.center + warp.spread * (z + 1)]).double()
    v = warp(y)
    assert v[0] < v[1]
    torch.testing.assert_close(warp.inverse(v), y, rtol=1e-7, atol=1e-7 * warp.spread)


@pytest.mark.parametrize("warp", WARPS)
def test_the_slope_is_that_of_autograd(warp: Warp) -> None:
    y = (warp.center + warp.spread * torch.linspace(-5, 5, 11).double()).requires_grad_()
    (slope,) = torch.autograd.grad(warp(y).sum(), y)
    torch.testing.assert_close(warp.log_slope(y.detach()).exp(), slope)


@pytest.mark.parametrize("warp", WARPS)
def test_of_the_negative_output_it_is_the_negative(warp: Warp) -> None:
    y = torch.linspace(-9, 9, 7).double()
    torch.testing.assert_close(warp.negated()(-y), -warp(y))


def test_no_number_is_too_large() -> None:
    huge = torch.tensor([-1e300, 1e300], dtype=torch.float64)
    for warp in WARPS:
        assert bool(warp(huge).isfinite().all())
        assert bool(warp.log_slope(huge).isfinite().all())


@pytest.mark.parametrize(
    "wrong", [{"spread": 0.0}, {"tail": 1.5}, {"tail": 0.0}, {"skew": math.nan}]
)
def test_bad_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no warp"):
        Warp(**{"center": 0.0, "spread": 1.0, "skew": 0.0, "tail": 1.0} | wrong)
