"""Parts keep their order, and threads are what they were."""

from __future__ import annotations

import threading

import pytest
import torch

from metabo.cores import num_cores, on_cores, one_thread, part_size


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_results_are_in_the_order_of_the_parts() -> None:
    used = set()

    def square(x: int) -> int:
        used.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        return x * x

    assert on_cores(square, range(50)) == [x * x for x in range(50)]
    assert threading.get_ident() not in used


def test_parts_are_larger_where_no_cache_has_to_hold_them() -> None:
    assert part_size(8, torch.device("cpu")) == 8
    assert part_size(8, torch.device("cuda")) > 8


def test_the_cores_are_there_inside_of_one_thread_too() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        assert num_cores() == 2
        with one_thread():
            assert num_cores() == 2
            assert on_cores(lambda _: torch.get_num_threads(), [0, 1]) == [1, 1]
    assert num_cores() == 2


def test_an_error_is_passed_on_and_leaves_the_threads_alone() -> None:
    def fail(x: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        on_cores(fail, [1, 2])
