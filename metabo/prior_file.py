"""The file of a Prior: safetensors, that is a JSON header and then tensors.

Reading it runs no code. The header carries a checksum of itself and of the tensors, so that a
damaged file is not used.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from metabo.atomic import replacing

FORMAT = "metabo-prior"
FORMAT_VERSION = 5  # nothing was released with an earlier one


class PriorFileError(ValueError):
    """A file is not a Prior that this version of metabo can read."""


def write(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a JSON-able header and tensors; an existing file stays until the new one is complete.

    Raises:
        OSError: If the file cannot be written; nothing is left behind then.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {"format": FORMAT, "format_version": FORMAT_VERSION} | header
    # One entry: safetensors writes several in any order, and equal priors should be equal files.
    text = json.dumps({"sha256": checksum(header, tensors), "header": header})
    content = save(tensors, {"metabo": text})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write` wrote.

    Raises:
        PriorFileError: If the file is truncated, damaged, of another kind or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("metabo", "null"))
            header: Any = found.get("header") if isinstance(found, dict) else None
            _check_format(path, header)
            # Cloned, so that they are aligned as new tensors are: last bits depend on it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise PriorFileError(
            f"{path} is truncated, damaged or not a prior file ({error}); "
            "save or copy the prior again"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PriorFileError(
            f"the header of {path} is damaged; save or copy the prior again"
        ) from error
    if found.get("sha256") != checksum(header, tensors):
        raise PriorFileError(
            f"{path} is damaged: its checksum is wrong; save or copy the prior again"
        )
    return header, tensors


def checksum(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """A fingerprint of a JSON-able header and tensors."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_format(path: Path, header: Any) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise PriorFileError(f"{path} is a safetensors file, but not one that metabo wrote")
    version = header.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise PriorFileError(
            f"{path} has prior format {version}; this metabo reads {FORMAT_VERSION}: upgrade metabo"
        )
    if version < FORMAT_VERSION:
        raise PriorFileError(
            f"{path} has prior format {version}, of an older metabo; this one reads "
            f"{FORMAT_VERSION}: train it again"
        )
