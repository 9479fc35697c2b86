"""What an experiment on a table runs."""

from pathlib import Path

import torch

from metabo.benchmark.experiment import Size, left_out
from metabo.space import InputSpace
from metabo.tasks import TableFamily
from metabo.tasks.task import Task

SPACE = InputSpace.from_bounds((0.0, 1.0))


def table(num_settings: int | None, *, seed: int) -> TableFamily:
    """Three tasks of a hundred settings, of which some are kept."""
    generator = torch.Generator().manual_seed(seed)
    keep = torch.randperm(100, generator=generator)[:num_settings]
    X = torch.linspace(0, 1, 100).double()[keep, None]
    return TableFamily([Task(name, SPACE, X, X.sin()) for name in "abc"], SPACE)


def test_each_task_is_left_out_of_what_is_learned_from(tmp_path: Path) -> None:
    setups = left_out("table", table)(Size(seeds=1, candidates=20), 0, tmp_path)
    cases = [setup.load() for setup in setups]
    assert [case.problems[0].task for case in cases] == ["a", "b", "c"]
    assert [list(case.family.names) for case in cases] == [["b", "c"], ["a", "c"], ["a", "b"]]
    assert all(len(case.problems) == 1 for case in cases)
    assert len({setup.name for setup in setups}) == 3


def test_each_seed_draws_its_candidates(tmp_path: Path) -> None:
    setups = left_out("table", table)(Size(seeds=2, tasks=2, candidates=20), 3, tmp_path)
    assert [setup.seed for setup in setups] == [3, 3, 4, 4]
    first, second, third, fourth = (setup.load().problems[0].candidates for setup in setups)
    assert torch.equal(first, second)
    assert torch.equal(third, fourth)
    assert not torch.equal(first.sort(0).values, third.sort(0).values)
    assert len({setup.name for setup in setups}) == 4
