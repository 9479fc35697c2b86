"""`metabo train`: from a table of earlier runs to a file with a Prior."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from metabo.commands.info import describe
from metabo.commands.runs import Runs
from metabo.commands.terminal import note, print_json
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.meta_training.records import Records
from metabo.table_file import refuse_overwriting
from metabo.tasks.tables import TableFamily

_EVERY = 25  # outer steps between two checkpoints: seconds of work


def train(
    runs: Runs,
    out: Path,
    *,
    seed: int,
    resume: bool,
    smoke: bool,
    tensorboard: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Train and save; checkpoints lie beside the file until it is there."""
    refuse_overwriting(out, runs.path, runs.space)
    family = runs.family()
    for finding in runs.findings:
        note(f"column {finding.column!r} {finding.message}")
    folder = out.with_name(f"{out.name}.training")
    if folder.exists() and not resume:
        note("an earlier training did not end; this one starts anew, --resume would go on with it")
        _remove(folder)
    settings = MetaTrainSettings.smoke() if smoke else MetaTrainSettings()
    prior = meta_train(
        family,
        seed=seed,
        settings=settings,
        device=device,
        records=Records(
            checkpoint=folder / "reptile.safetensors",
            every=_EVERY,
            resume=resume,
            tensorboard=tensorboard,
        ),
    )
    table: dict[str, Any] = {"file": runs.path.name, "task": runs.task, "output": runs.output}
    table |= {"left_out_points": _left_out_points(family, settings)}
    prior = replace(prior, provenance=prior.provenance | {"table": table})
    prior.save(out)
    _remove(folder)
    if as_json:
        print_json({"prior": str(out), **describe(prior)})
    else:
        note(f"the prior is in {out}; it took {prior.provenance['seconds']:.0f} s")


def _left_out_points(family: TableFamily, settings: MetaTrainSettings) -> float | None:
    """How many observations of a left-out task the evidence is of, on average; None if of none."""
    counts = [min(len(task), settings.heads.points) for task in family.tasks()]
    return sum(counts) / len(counts) if len(counts) > 1 else None


def _remove(folder: Path) -> None:
    # With those that a kill has left half written.
    for file in [*folder.glob("reptile-*.safetensors"), *folder.glob(".*.reptile-*.safetensors")]:
        file.unlink()
    with suppress(OSError):  # what else is in it is not ours
        folder.rmdir()
