"""The journal of a session: a file that is only ever appended to, one JSON line an event.

The first line says which session it is. Reading a journal runs no code.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from metabo.atomic import replacing

FORMAT = "metabo-journal-1"
_KINDS = ("asked", "told", "failed")


class JournalError(ValueError):
    """A journal is broken, of another session, or in use."""


class Event(NamedTuple):
    """What happened to a point.

    Attributes:
        kind: "asked", "told" or "failed".
        x: {input name: value}.
        y: The measured response, in the user's units, where it was told.
        constraints: {output name: measured value}, of the further outputs that were told with it.
    """

    kind: str
    x: dict[str, Any]
    y: float | None = None
    constraints: Mapping[str, float] = MappingProxyType({})

    def to_json(self) -> str:
        """One line."""
        data = {"event": self.kind, "x": self.x} | ({} if self.y is None else {"y": self.y})
        data |= {"constraints": dict(self.constraints)} if self.constraints else {}
        return json.dumps(data, allow_nan=False)

    @classmethod
    def from_json(cls, data: Any) -> Event:
        """What `to_json` wrote.

        Raises:
            ValueError: If it is something else.
        """
        if not isinstance(data, dict) or data.get("event") not in _KINDS:
            raise ValueError(f"expected an event, one of {', '.join(_KINDS)}; got {data!r:.80}")
        kind, x, y = data["event"], data.get("x"), data.get("y")
        if not isinstance(x, dict):
            raise ValueError(f"the point of what was {kind} is {x!r:.80}, not {{input: value}}")
        if kind != "told" and y is None:
            return cls(kind, x)
        others = data.get("constraints", {})
        if (
            kind == "told"
            and isinstance(others, dict)
            and all(map(_is_value, [y, *others.values()]))
        ):
            assert y is not None
            return cls(kind, x, float(y), {name: float(value) for name, value in others.items()})
        raise ValueError(f"the value of what was {kind} is {[y, others]!r:.80}")


def _is_value(y: Any) -> bool:
    return isinstance(y, int | float) and not isinstance(y, bool) and math.isfinite(y)


class Journal:
    """A journal that is open for appending; no other process can open it meanwhile.

    A last line that was cut off while it was written is removed: its event was never confirmed.

    Attributes:
        events: What was in it when it was opened; event i is on line i + 2.

    Args:
        path: The file; made if it does not exist.
        session: What makes it this session and no other. JSON-able.

    Raises:
        JournalError: If a line is broken, if it is the journal of another session, or if it is
            open already.
        OSError: If the file cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str], session: dict[str, Any]) -> None:
        self.path = Path(os.path.realpath(path))  # one lock, by whichever link it is opened
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._process = os.getpid()
        self._lock = FileLock(f"{self.path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise JournalError(
                f"{self.path} is in use by another process or Optimizer: end that one, or close() "
                "it, or use a journal of its own"
            ) from error
        try:
            self.events = self._open(session)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, session: dict[str, Any]) -> list[Event]:
        if not self.path.exists():
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps({"format": FORMAT} | session) + "\n")
        content = _without_cut_line(self.path.read_bytes())
        found, events = _parse(self.path, content)
        self._check_session(found, session)
        self._file = self.path.open("r+b", buffering=0)
        self._end = self._file.seek(len(content))
        self._file.truncate()
        if not content.endswith(b"\n"):
            self._end += self._file.write(b"\n")
        return events

    def _check_session(self, found: dict[str, Any], session: dict[str, Any]) -> None:
        for key in session | found:
            wanted = session.get(key)
            if found.get(key) != wanted:
                raise JournalError(
                    f"{self.path} is the journal of another session: its {key} is "
                    f"{found.get(key)!r}, not {wanted!r}; give the same arguments, or another path"
                )

    def broken(self, line: int, error: Exception) -> JournalError:
        """The error to raise about a line, counted from 1."""
        return _broken(self.path, line, error)

    def append(self, *events: Event) -> None:
        """Write events; they are on the disk when this returns, or else none of them is.

        Raises:
            JournalError: If the journal has been closed, or another process has written to it.
            OSError: If they cannot be written, as when the disk is full.
        """
        if self._file.closed:
            raise JournalError(f"{self.path} has been closed; open it again")
        content = b"".join(event.to_json().encode() + b"\n" for event in events)
        self._check_alone()
        self._file.seek(self._end)
        try:
            self._write(content)
        except BaseException:
            self._file.truncate(self._end)
            raise
        self._end += len(content)

    def _check_alone(self) -> None:
        """Refuse to write over what another one has confirmed; a fork inherits the lock."""
        if os.getpid() != self._process:
            raise JournalError(
                f"{self.path} was opened by another process, which this one is a fork of: tell "
                "there, or use a journal of its own"
            )
        if os.fstat(self._file.fileno()).st_size != self._end:
            raise JournalError(
                f"{self.path} was changed by something else since it was opened: close() it and "
                "open it again"
            )

    def _write(self, content: bytes) -> None:
        while content:
            content = content[self._file.write(content) :]
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others open the journal; in a fork, whose lock is its parent's, only end its use."""
        self._file.close()
        if os.getpid() == self._process:
            self._lock.release()


def read_journal(path: Path) -> tuple[dict[str, Any], list[Event]]:
    """What is in a journal, which may be in use: the session that it is of, and its events.

    Raises:
        JournalError: If it is no journal, or a line is broken.
        OSError: If it cannot be read.
    """
    return _parse(path, _without_cut_line(path.read_bytes()))


def is_journal(path: Path) -> bool:
    """Whether a file begins as a journal does."""
    with path.open("rb") as file:
        return file.read(100).startswith(b'{"format": "metabo-journal')


def _parse(path: Path, content: bytes) -> tuple[dict[str, Any], list[Event]]:
    header, *lines = content.splitlines() or [b""]
    try:
        session = json.loads(header)
    except (ValueError, RecursionError):
        session = None
    if not isinstance(session, dict) or session.pop("format", None) != FORMAT:
        raise JournalError(
            f"{path}, line 1: this is no journal that this version of metabo can read"
        )
    return session, [_event(path, number, line) for number, line in enumerate(lines, start=2)]


def _event(path: Path, number: int, line: bytes) -> Event:
    try:
        return Event.from_json(json.loads(line))
    except (ValueError, OverflowError, RecursionError) as error:
        raise _broken(path, number, error) from error


def _broken(path: Path, line: int, error: Exception) -> JournalError:
    return JournalError(f"{path}, line {line} is broken: {error}; repair or remove it")


def _without_cut_line(content: bytes) -> bytes:
    whole, newline, last = content.rpartition(b"\n")
    if not last or not newline:
        return content
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        return whole + newline
    return content  # all there but for the line's end, which an editor may have removed
