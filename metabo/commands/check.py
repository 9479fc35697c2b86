"""`metabo check`: is a table of earlier runs fit to be learned from?"""

from __future__ import annotations

from metabo.commands.runs import Runs
from metabo.commands.terminal import console, print_json, print_table


def check(runs: Runs, *, as_json: bool) -> bool:
    """Print what is wrong or doubtful; returns whether nothing is wrong."""
    frame, findings = runs.frame, runs.findings
    fit = all(finding.severity != "wrong" for finding in findings)
    tasks = int(frame[runs.task].nunique())
    if as_json:
        found = [finding._asdict() for finding in findings]
        print_json({"rows": len(frame), "tasks": tasks, "fit": fit, "findings": found})
        return fit
    if findings:
        print_table(f"{runs.path}", ("", "column", "what"), findings)
    console().print(
        f"{len(frame)} runs of {tasks} tasks: "
        + ("they can be learned from" if fit else "repair what is wrong first")
    )
    return fit
