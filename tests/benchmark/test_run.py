"""Cells in parallel give what they give one after the other."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
import torch

from metabo.benchmark.run import run, run_rows


def threads() -> int:
    return torch.get_num_threads()


def fail() -> None:
    raise ZeroDivisionError("a cell failed")


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_come_in_the_order_of_the_cells(jobs: int) -> None:
    def square(x: int) -> list[dict[str, int]]:  # inside: other processes cannot import a test
        return [{"x": x, "square": x * x}, {"x": x, "square": x * x}]

    found = run_rows([partial(square, x) for x in range(9)], label="squares", jobs=jobs)
    expected = [row for x in range(9) for row in square(x)]
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected))


def test_cells_have_one_thread_and_the_caller_keeps_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run([threads], label="threads", jobs=1) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_failing_cell_is_not_dropped() -> None:
    with pytest.raises(ZeroDivisionError, match="a cell failed"):
        run([fail], label="failing", jobs=1)
