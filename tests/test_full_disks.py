"""Disks that are full or may not be written: one message, exit code 2, and nothing half written."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from metabo.cli import app
from metabo.journal import Event
from metabo.optimizer import Optimizer
from metabo.prior import Prior

COMMANDS = {
    "train": "train {runs} --task batch --output damage --minimize --smoke -o {out}",
    "suggest": "suggest {prior} -o {out}",
    "report": "report {prior} -o {out}",
}


def run(command: str, **paths: Path) -> Result:
    words = command.format(**paths).split()
    return CliRunner().invoke(app, words)


@pytest.fixture
def files(make_prior: Callable[..., Prior], tmp_path: Path) -> dict[str, Path]:
    prior, runs = tmp_path / "prior.safetensors", tmp_path / "runs.csv"
    make_prior(broad=0.1).save(prior)
    rows = [f"b{b},{d},{(d - 4 - b) ** 2}" for b in range(3) for d in range(6)]
    runs.write_text("\n".join(["batch,dose,damage", *rows]))
    return {"prior": prior, "runs": runs}


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: it stands for a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    "command", ["suggest", "report", pytest.param("train", marks=pytest.mark.slow)]
)
def test_a_full_disk(command: str, files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    out.parent.mkdir()
    out.write_text("old")
    with room_for(20):
        result = run(COMMANDS[command], out=out, **files)
    assert result.exit_code == 2, result.output
    assert "File too large" in result.stderr
    assert "Traceback" not in result.output
    assert out.read_text() == "old"
    assert [path.name for path in out.parent.iterdir() if path.is_file()] == ["out"]


def test_a_session_on_a_full_disk_goes_on_when_there_is_room(
    files: dict[str, Path], tmp_path: Path
) -> None:
    prior, path = Prior.load(files["prior"]), tmp_path / "session.jsonl"
    with Optimizer(prior, journal=path) as optimizer:
        optimizer.tell({"x1": 0.0, "x2": 0.5}, 1.0)
        with room_for(path.stat().st_size + 20), pytest.raises(OSError, match="too large"):
            optimizer.tell({"x1": 1.0, "x2": 0.5}, 2.0)
        assert len(optimizer) == 1
        optimizer.tell({"x1": 2.0, "x2": 0.5}, 3.0)
    with Optimizer(prior, journal=path) as optimizer:
        assert optimizer.observations[1].squeeze(-1).tolist() == [1.0, 3.0]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A disk of our own, as only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "metabo-test", str(folder)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("no disk may be mounted here")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "command", ["suggest", "report", pytest.param("train", marks=pytest.mark.slow)]
)
def test_a_folder_that_is_read_only(
    command: str, files: dict[str, Path], mounted: Callable[..., Path]
) -> None:
    result = run(COMMANDS[command], out=mounted("ro") / "out", **files)
    assert result.exit_code == 2, result.output
    assert "Read-only file system" in result.stderr


def test_a_disk_of_8_kib(files: dict[str, Path], mounted: Callable[..., Path]) -> None:
    disk, prior = mounted("size=8k"), Prior.load(files["prior"])
    result = run(COMMANDS["report"], out=disk / "out", **files)
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert list(disk.iterdir()) == []
    with Optimizer(prior, journal=disk / "session.jsonl") as optimizer:
        told = _tell_until_full(optimizer)
        assert len(optimizer) == told > 0
    with Optimizer(prior, journal=disk / "session.jsonl") as optimizer:
        assert optimizer.observations[1].squeeze(-1).tolist() == [float(i) for i in range(told)]


def _tell_until_full(optimizer: Optimizer) -> int:
    for told in range(1000):
        try:
            optimizer.tell({"x1": 0.0, "x2": 0.5}, float(told))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                return told
            raise
    raise AssertionError("the disk is never full")


@pytest.mark.parametrize("command", ["suggest", "report", "train"])
def test_below_a_file(command: str, files: dict[str, Path]) -> None:
    """Where root may write anywhere else."""
    result = run(COMMANDS[command], out=files["runs"] / "out", **files)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_events_are_all_or_nothing(files: dict[str, Path], tmp_path: Path) -> None:
    """A batch that does not fit is not asked for at all."""
    prior, path = Prior.load(files["prior"]), tmp_path / "session.jsonl"
    with Optimizer(prior, journal=path) as optimizer:
        event = Event("asked", {"x1": 0.0, "x2": 0.5}).to_json()
        with room_for(path.stat().st_size + len(event) + 1), pytest.raises(OSError, match="large"):
            optimizer.ask(3)
        assert optimizer.pending == []
    with Optimizer(prior, journal=path) as optimizer:
        assert optimizer.pending == []
