"""Files that are never half written."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; the file takes the place of `path` once it is complete and on the disk.

    Whatever happens before that, an existing file stays as it was and nothing is left behind, but
    for a hidden file when the process is killed.

    Raises:
        OSError: If the folder cannot be made or the file not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # What writes may tell the kind of a file by its ending.
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
