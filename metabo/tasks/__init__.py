"""What is optimised: tasks, and the families that they come from."""

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
