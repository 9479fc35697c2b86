"""`metabo compare`: is a prior from these runs worth it?"""

from __future__ import annotations

import math
from pathlib import Path

from metabo.benchmark.leave_out import Verdict, a_part, judge, leave_out
from metabo.benchmark.report import summarise, table
from metabo.commands.runs import Runs
from metabo.commands.terminal import console, note, print_json
from metabo.meta_training.meta_train import MetaTrainSettings
from metabo.table_file import refuse_overwriting, write_table
from metabo.tasks.tables import TableFamily

_ENOUGH_TASKS = 6  # with fewer, no paired test can be clear


def compare(
    runs: Runs,
    *,
    evaluations: int,
    repeats: int,
    seed: int,
    jobs: int,
    smoke: bool,
    as_json: bool,
    out: Path | None,
) -> None:
    """Run the comparison and print the answer."""
    refuse_overwriting(out, runs.path, runs.space)
    settings = MetaTrainSettings.smoke() if smoke else MetaTrainSettings()
    family = runs.family()
    part = a_part(family, settings, seed=seed)
    if _size(part) != _size(family):
        note(f"of {_size(family)} a random part is compared: {_size(part)}")
    rows = leave_out(
        part,
        settings=settings,
        evaluations=evaluations,
        repeats=repeats,
        seed=seed,
        jobs=jobs,
    )
    if out is not None:
        write_table(rows, out)
    summary, verdict = summarise(rows, "regret"), judge(rows)
    if not as_json:
        console().print(table(summary, "Regret on tasks left out, as a share of the range"))
        console().print(_answer(verdict))
        return
    means = summary.pivot(index="method", columns="n", values="mean")
    print_json(
        {
            "answer": verdict.answer,
            "tasks": verdict.num_tasks,
            "baseline": verdict.baseline,
            "gain": {k: v if math.isfinite(v) else None for k, v in verdict.gain._asdict().items()},
            "regret": {
                str(m): {int(n): float(v) for n, v in r.items()} for m, r in means.iterrows()
            },
        }
    )


def _size(family: TableFamily) -> str:
    return f"{sum(len(task) for task in family.tasks())} runs of {len(family)} tasks"


def _answer(verdict: Verdict) -> str:
    lines = {
        "worth it": "A prior is worth it.",
        "not worth it": "A prior is not worth it: without one the search does better.",
        "not clear": "Whether a prior is worth it is not clear.",
    }
    gain = (
        f"The mean regret of {verdict.baseline} is larger by {verdict.gain} "
        f"({verdict.num_tasks} tasks, paired)."
    )
    few = verdict.num_tasks < _ENOUGH_TASKS
    why = f" With fewer than {_ENOUGH_TASKS} tasks no test can tell." if few else ""
    return f"{lines[verdict.answer]} {gain}{why}"
