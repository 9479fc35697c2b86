"""The journal's file: what is in it, what a crash may do to it, and who may open it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabo.journal import Event, Journal, JournalError

SESSION = {"prior": "abc", "seed": 0, "minimize": False}
ASKED = Event("asked", {"x": 0.1, "kernel": "rbf"})
TOLD = Event("told", {"x": 0.1, "kernel": "rbf"}, -1e-300)
FAILED = Event("failed", {"x": 0.5, "kernel": "lin\r\near é"})


def written(path: Path, *events: Event) -> bytes:
    journal = Journal(path, SESSION)
    journal.append(*events)
    journal.close()
    return path.read_bytes()


def reopened(path: Path) -> list[Event]:
    journal = Journal(path, SESSION)
    journal.close()
    return journal.events


def printed(code: str, path: Path) -> str:
    """What a process of its own prints that runs some code on a journal."""
    command = [sys.executable, "-c", code, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_one_line_an_event(tmp_path: Path) -> None:
    path = tmp_path / "new" / "session.jsonl"
    lines = written(path, ASKED, TOLD, FAILED).decode().splitlines()
    assert [json.loads(line).get("event") for line in lines] == [None, "asked", "told", "failed"]
    assert json.loads(lines[0]) == {"format": "metabo-journal-1", **SESSION}
    assert reopened(path) == [ASKED, TOLD, FAILED]


def test_appending_goes_on_after_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    first = written(path, ASKED)
    assert written(path, TOLD).startswith(first)
    assert reopened(path) == [ASKED, TOLD]


json_values = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
points = st.dictionaries(st.text(), json_values, max_size=4)
finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(points, finite), max_size=4))
def test_any_point_and_value_comes_back(
    tmp_path_factory: pytest.TempPathFactory, told: list
) -> None:
    path = tmp_path_factory.mktemp("journal") / "session.jsonl"
    events = [Event("told", x, y) for x, y in told]
    written(path, *events)
    assert reopened(path) == events


def test_cut_off_anywhere_in_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    kept = len(written(path, ASKED))
    content = written(path, TOLD)
    for end in range(kept, len(content) - 1):
        path.write_bytes(content[:end])
        assert reopened(path) == [ASKED]
        assert path.read_bytes() == content[:kept]
    # All but the end of the line: an editor's doing, or a crash after all that counts.
    path.write_bytes(content[:-1])
    assert reopened(path) == [ASKED, TOLD]
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        "",
        "told",
        "[1]",
        "[" * 100_000,
        '{"event": "exec", "x": {}}',
        '{"event": "told", "x": {}}',
        '{"event": "told", "x": {}, "y": NaN}',
        '{"event": "told", "x": {}, "y": "1"}',
        '{"event": "told", "x": {}, "y": 1' + "0" * 400 + "}",
        '{"event": "told", "x": [], "y": 1}',
        '{"event": "asked", "x": {}, "y": 1}',
        "\udcff\udcfe",
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "session.jsonl"
    content = written(path, ASKED, TOLD)
    middle = content.replace(b'{"event": "told"', os.fsencode(line) + b'\n{"event": "told"')
    path.write_bytes(middle)
    with pytest.raises(JournalError, match=r"session\.jsonl, line 3 is broken"):
        Journal(path, SESSION)
    assert path.read_bytes() == middle


@pytest.mark.parametrize("content", [b"", b"one line, of somebody else", b"a,b\n1,2\n", b"{}\n"])
def test_another_kind_of_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="line 1: this is no journal"):
        Journal(path, SESSION)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("key", "value"), [("prior", "xyz"), ("seed", 1), ("minimize", True)])
def test_another_session_is_refused_by_what_differs(
    tmp_path: Path, key: str, value: object
) -> None:
    written(tmp_path / "session.jsonl")
    with pytest.raises(JournalError, match=f"its {key} is .*, not {value!r}"):
        Journal(tmp_path / "session.jsonl", SESSION | {key: value})


def test_a_second_one_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    first = Journal(path, SESSION)
    with pytest.raises(JournalError, match="in use"):
        Journal(path, SESSION)
    first.close()
    Journal(path, SESSION).close()
    with pytest.raises(JournalError, match="has been closed"):
        first.append(ASKED)


def test_a_link_to_a_journal_in_use_is_refused(tmp_path: Path) -> None:
    first = Journal(tmp_path / "session.jsonl", SESSION)
    (tmp_path / "link.jsonl").symlink_to(first.path)
    with pytest.raises(JournalError, match="in use"):
        Journal(tmp_path / "link.jsonl", SESSION)
    first.close()


def test_what_another_writer_has_confirmed_is_kept(tmp_path: Path) -> None:
    """Through a second name of the same file, which has a lock of its own."""
    path = tmp_path / "session.jsonl"
    first = Journal(path, SESSION)
    os.link(path, tmp_path / "other.jsonl")
    written(tmp_path / "other.jsonl", TOLD)
    with pytest.raises(JournalError, match="changed by something else"):
        first.append(ASKED)
    first.close()
    assert reopened(path) == [TOLD]


FORKED = """
import os, sys
from metabo.journal import Event, Journal, JournalError
journal = Journal(sys.argv[1], {"prior": "abc", "seed": 0, "minimize": False})
child = os.fork()
if child == 0:
    try:
        journal.append(Event("asked", {"x": 1}))
    except JournalError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
journal.append(Event("told", {"x": 0.5}, 1.0))
"""


@pytest.mark.slow
def test_a_fork_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    assert "a fork of" in printed(FORKED, path)
    assert reopened(path) == [Event("told", {"x": 0.5}, 1.0)]


CLOSED_IN_A_FORK = """
import os, sys
from metabo.journal import Journal, JournalError
session = {"prior": "abc", "seed": 0, "minimize": False}
journal = Journal(sys.argv[1], session)
child = os.fork()
if child == 0:
    journal.close()
    os._exit(0)
os.waitpid(child, 0)
try:
    Journal(sys.argv[1], session)
except JournalError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_fork_that_closes_does_not_unlock(tmp_path: Path) -> None:
    assert "is in use by another" in printed(CLOSED_IN_A_FORK, tmp_path / "session.jsonl")


@pytest.mark.slow
def test_another_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    first = Journal(path, SESSION)
    code = (
        "import sys; from metabo.journal import Journal\n"
        "Journal(sys.argv[1], {'prior': 'abc', 'seed': 0, 'minimize': False})"
    )
    other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "is in use by another process" in other.stderr
    first.close()


def test_a_refused_journal_is_not_locked(tmp_path: Path) -> None:
    written(tmp_path / "session.jsonl")
    with pytest.raises(JournalError, match="seed"):
        Journal(tmp_path / "session.jsonl", SESSION | {"seed": 1})
    assert reopened(tmp_path / "session.jsonl") == []


def test_what_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "session.jsonl", SESSION)
    for event in (Event("told", {}, math.nan), Event("told", {"x": object()}, 1.0)):
        with pytest.raises((ValueError, TypeError)):
            journal.append(TOLD, event)
    journal.append(ASKED)
    journal.close()
    assert reopened(journal.path) == [ASKED]


FULL_DISK = """
import resource, signal, sys
from metabo.journal import Event, Journal
journal = Journal(sys.argv[1], {"prior": "abc", "seed": 0, "minimize": False})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (journal._end + 100, resource.RLIM_INFINITY))
event = Event("told", {"x": 0.5}, 1.0)
journal.append(event)
try:
    journal.append(event, event)
except OSError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(event)
"""


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's: a write is cut short, the next fails."""
    path = tmp_path / "session.jsonl"
    assert "too large" in printed(FULL_DISK, path)
    assert reopened(path) == 2 * [Event("told", {"x": 0.5}, 1.0)]


KILLED = """
import json, os, random, signal, sys, time
from metabo.journal import Event, Journal
session = {"prior": "abc", "seed": 0, "minimize": False}
random.seed(0)
told = 0
for trial in range(50):
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        journal = Journal(sys.argv[1], session)
        for i in range(told, 10**9):
            journal.append(Event("told", {"x": i}, 0.5))
            os.write(writes, b"%d\\n" % i)
    os.close(writes)
    os.read(reads, 1)  # the first one is told
    time.sleep(0.003 * random.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    confirmed = told
    with os.fdopen(reads) as pipe:
        confirmed += len(("0" + pipe.read()).splitlines())
    journal = Journal(sys.argv[1], session)
    journal.close()
    assert [event.x["x"] for event in journal.events] == list(range(len(journal.events)))
    assert confirmed <= len(journal.events) <= confirmed + 1, (confirmed, len(journal.events))
    told = len(journal.events)
print(told)
"""


@pytest.mark.slow
def test_killed_while_telling(tmp_path: Path) -> None:
    """At 50 random moments: all that was confirmed is there, and nothing is broken."""
    path = tmp_path / "session.jsonl"
    assert int(printed(KILLED, path)) >= 50
