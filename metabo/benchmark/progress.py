"""How far a run is, and how long it will still take, on the standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS = 60.0  # between lines in a log


@contextmanager
def progress(label: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, and a line a minute in a log.

    Args:
        label: What is being done.
        total: How many things there are to do.
        done: How many of them are done already.

    Yields:
        What to call whenever one more is done.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, label, total, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        row = bar.add_task(label, total=total, completed=done)
        yield lambda: bar.advance(row)


class _Lines:
    def __init__(self, console: Console, label: str, total: int, done: int) -> None:
        self.console, self.label, self.total, self.done = console, label, total, done
        self._before = done  # took no time in this run
        self._started = self._said = time.monotonic()

    def __call__(self) -> None:
        self.done += 1
        now = time.monotonic()
        if self.done < self.total and now - self._said < _SECONDS:
            return
        self._said, elapsed = now, now - self._started
        left = elapsed * (self.total - self.done) / (self.done - self._before)
        times = f"{timedelta(seconds=round(elapsed))}, {timedelta(seconds=round(left))} left"
        self.console.print(f"{self.label} {self.done}/{self.total}, {times}", highlight=False)
