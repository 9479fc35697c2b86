"""Several processes: the result of one, and a clear end when one is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import metabo
from metabo.meta_training.ranks import RankLostError, mean_over_tasks, share
from metabo.meta_training.records import Records
from metabo.meta_training.reptile import ReptileSettings, reptile
from metabo.network import MLP
from metabo.tasks.task import TaskBatch

SETTINGS = ReptileSettings(outer_steps=8, tasks_per_step=5, inner_steps=4, points_per_step=6)


def run(settings: ReptileSettings = SETTINGS, records: Records | None = None) -> MLP:
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(10, 8, 1, generator=generator, dtype=torch.float64)
    batch = TaskBatch(X, torch.sin(4 * X.squeeze(-1)), torch.full((10,), 8))
    start = MLP(1, (8, 8), generator=generator).double()
    return reptile(batch, start, settings, seed=0, device="cpu", progress=False, records=records)


def one_of_two(rank: int, folder: str, lose: bool) -> None:
    """What a rank does; its outcome goes to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    outcome = Path(folder) / f"rank{rank}"
    if lose and rank == 1:
        settle = dist.all_reduce

        def die_in_time(*args: object, **kwargs: object) -> None:
            die_in_time.calls += 1
            if die_in_time.calls == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            settle(*args, **kwargs)

        die_in_time.calls = 0
        dist.all_reduce = die_in_time
    try:
        trained = run(records=Records(Path(folder) / "run.safetensors", every=2))
        outcome.write_text(json.dumps([w.tolist() for w in trained.layers]))
    except RankLostError as error:
        outcome.write_text(str(error))
        os._exit(0)  # the process group cannot be taken down any more
    dist.destroy_process_group()


def run_on_two_ranks(folder: Path, lose: bool) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(metabo.__file__).parents[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder), str(int(lose))], env=environment
        )
        for rank in range(2)
    ]
    for process in processes:
        process.wait(60)


@pytest.mark.slow
def test_two_ranks_give_what_one_process_gives(tmp_path):
    run_on_two_ranks(tmp_path, lose=False)
    first, second = ((tmp_path / f"rank{r}").read_text() for r in range(2))
    assert first == second
    for ours, whole in zip(json.loads(first), run().layers, strict=True):
        torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), whole.detach())


@pytest.mark.slow
def test_a_lost_rank_ends_the_run_with_a_checkpoint_to_go_on_from(tmp_path):
    run_on_two_ranks(tmp_path, lose=True)
    assert not (tmp_path / "rank1").exists()
    assert "resume=True" in (tmp_path / "rank0").read_text()
    resumed = run(records=Records(tmp_path / "run.safetensors", resume=True))
    for ours, whole in zip(resumed.layers, run().layers, strict=True):
        torch.testing.assert_close(ours, whole)


def test_one_process_has_every_task_and_its_own_mean():
    assert share(7) == slice(0, 7)
    tensors = [torch.ones(2)]
    assert mean_over_tasks(tensors, 7) is tensors


if __name__ == "__main__":
    one_of_two(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "1")
