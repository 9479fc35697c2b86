"""Checkpoints of a long run: written whole or not at all, and resumed to the same bits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from metabo.atomic import replacing

FORMAT = "metabo-checkpoint-1"


class CheckpointError(ValueError):
    """A file is no checkpoint, or one of another run."""


@dataclass
class Checkpoint:
    """Where a run stands.

    Attributes:
        step: How many outer steps are done.
        weights: The network's parameters, in their order.
        generator: The state of the generator that draws the tasks, bytes.
        run: What makes it this run and no other: algorithm, settings, seed, data. JSON-able.
        best: With held-out tasks: the best weights so far, their loss, and the looks since.
    """

    step: int
    weights: list[Tensor]
    generator: Tensor
    run: dict[str, Any]
    best: tuple[list[Tensor], float, int] | None = None

    def save(self, path: Path) -> None:
        """Write the file; one of that name is replaced only once the new one is on the disk."""
        tensors = {f"weights.{i}": w.cpu().contiguous() for i, w in enumerate(self.weights)}
        header = {"format": FORMAT, "step": str(self.step), "run": _json(self.run)}
        if self.best is not None:
            best, *rest = self.best
            tensors |= {f"best.{i}": w.cpu().contiguous() for i, w in enumerate(best)}
            header["best"] = json.dumps(rest)
        content = save(tensors | {"generator": self.generator}, header)
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    @classmethod
    def load(cls, path: Path, run: dict[str, Any]) -> Checkpoint:
        """Read the checkpoint of `run`.

        Raises:
            CheckpointError: If the file is not a whole checkpoint, or belongs to another run; says
                in what they differ.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not a whole checkpoint: {error}") from error
        if header.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not a checkpoint that this version can read")
        saved = json.loads(header["run"])
        # Through JSON, so that a tuple equals the list that it is saved as.
        wanted = json.loads(_json(run))
        differing = [key for key in saved | wanted if saved.get(key) != wanted.get(key)]
        if differing:
            key = differing[0]
            raise CheckpointError(
                f"{path} is a checkpoint of another run: its {key} is {saved.get(key)}, not "
                f"{wanted.get(key)}; give the same arguments, or resume=False to start anew"
            )

        def numbered(name: str) -> list[Tensor]:
            return [tensors[f"{name}.{i}"] for i in range(sum(t.startswith(name) for t in tensors))]

        best = (numbered("best"), *json.loads(header["best"])) if "best" in header else None
        return cls(int(header["step"]), numbered("weights"), tensors["generator"], saved, best)


def _json(run: dict[str, Any]) -> str:
    """As text; NumPy's numbers, which settings may be, as Python's."""
    return json.dumps(run, default=float)


def fingerprint(tensors: list[Tensor]) -> str:
    """A short name for the values of some tensors."""
    digest = sha256()
    for tensor in tensors:
        # Flat, for the bytes of a single number without dimensions cannot be viewed.
        values = tensor.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
