"""What is optimised: tasks, and the families that they come from."""

from typing import TYPE_CHECKING

from metabo.lazy import lazy_names

if TYPE_CHECKING:
    from metabo.tasks.parametric import FunctionFamily, LogisticFamily, NormalFamily
    from metabo.tasks.tables import TableFamily
    from metabo.tasks.task import Task, TaskBatch, TaskFamily

__all__ = [
    "FunctionFamily",
    "LogisticFamily",
    "NormalFamily",
    "TableFamily",
    "Task",
    "TaskBatch",
    "TaskFamily",
]

if not TYPE_CHECKING:  # who would take any name to be there
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "FunctionFamily": "metabo.tasks.parametric",
            "LogisticFamily": "metabo.tasks.parametric",
            "NormalFamily": "metabo.tasks.parametric",
            "TableFamily": "metabo.tasks.tables",
            "Task": "metabo.tasks.task",
            "TaskBatch": "metabo.tasks.task",
            "TaskFamily": "metabo.tasks.task",
        },
    )
