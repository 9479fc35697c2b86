"""The progress bar of meta-training, on the standard error."""

import math

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Loss(ProgressColumn):
    """The loss, where there is one."""

    def render(self, task: Task) -> Text:
        loss = task.fields["loss"]
        return Text("" if math.isnan(loss) else f"loss {loss:.4g}")


def progress_bar(shown: bool) -> Progress:
    """A bar with the loss and the time left; add tasks with `loss=` as a field, nan for none."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Loss(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
