"""Checkpoint files: whole, atomic, and of one run only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metabo.meta_training.checkpoint import Checkpoint, CheckpointError, fingerprint

RUN = {"seed": 3, "settings": {"widths": (1, 2), "inner_step_size": 0.1}}


def checkpoint() -> Checkpoint:
    generator = torch.Generator().manual_seed(5)
    return Checkpoint(7, [torch.randn(3, 2), torch.randn(2)], generator.get_state(), RUN)


def test_what_is_loaded_is_what_was_saved(tmp_path):
    saved = checkpoint()
    saved.save(tmp_path / "new" / "run.safetensors")
    loaded = Checkpoint.load(tmp_path / "new" / "run.safetensors", RUN)
    assert loaded.step == 7
    assert torch.equal(loaded.generator, saved.generator)
    assert all(torch.equal(a, b) for a, b in zip(loaded.weights, saved.weights, strict=True))


def test_numbers_of_numpy_are_numbers(tmp_path):
    state = torch.Generator().get_state()
    settings = {"inner_step_size": np.float32(0.5), "steps": np.int64(3)}
    Checkpoint(1, [torch.zeros(2)], state, settings).save(tmp_path / "run")
    assert Checkpoint.load(tmp_path / "run", {"inner_step_size": 0.5, "steps": 3}).step == 1


def test_nothing_partial_is_left_and_the_old_file_is_replaced(tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"an older file")
    checkpoint().save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
    assert Checkpoint.load(path, RUN).step == 7


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    path.mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        checkpoint().save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


def test_another_run_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "run.safetensors"
    checkpoint().save(path)
    with pytest.raises(CheckpointError, match="its seed is 3, not 4"):
        Checkpoint.load(path, RUN | {"seed": 4})


def test_a_broken_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    checkpoint().save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        Checkpoint.load(path, RUN)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Checkpoint.load(path, RUN)


def test_a_fingerprint_tells_values_apart():
    a = torch.arange(4.0)
    assert fingerprint([a, a]) == fingerprint([a.clone(), a.clone()])
    assert fingerprint([a]) != fingerprint([a + 1e-6])
