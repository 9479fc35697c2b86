"""`metabo train`: from a table of earlier runs to a file with a Prior."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from metabo.commands.runs import Runs
from metabo.commands.terminal import note
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.meta_training.records import Records

_EVERY = 25  # outer steps between two checkpoints: seconds of work


def train(
    runs: Runs,
    out: Path,
    *,
    seed: int,
    resume: bool,
    smoke: bool,
    tensorboard: Path | None,
) -> None:
    """Train and save; checkpoints lie beside the file until it is there."""
    family = runs.family()
    for finding in runs.findings:
        note(f"column {finding.column!r} {finding.message}")
    folder = out.with_name(f"{out.name}.training")
    if folder.exists() and not resume:
        note("an earlier training did not end; this one starts anew, --resume would go on with it")
        _remove(folder)
    prior = meta_train(
        family,
        seed=seed,
        settings=MetaTrainSettings.smoke() if smoke else MetaTrainSettings(),
        records=Records(
            checkpoint=folder / "reptile.safetensors",
            every=_EVERY,
            resume=resume,
            tensorboard=tensorboard,
        ),
    )
    table = {"file": runs.path.name, "task": runs.task, "output": runs.output}
    replace(prior, provenance=prior.provenance | {"table": table}).save(out)
    _remove(folder)
    note(f"the prior is in {out}; it took {prior.provenance['seconds']:.0f} s")


def _remove(folder: Path) -> None:
    for file in folder.glob("reptile-*.safetensors"):
        file.unlink()
    with suppress(OSError):  # what else is in it is not ours
        folder.rmdir()
