"""Tables of regrets: who was how soon how near to the best."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from metabo.benchmark import scores
from metabo.benchmark.contest import FROM_RUNS
from metabo.benchmark.methods import OWN_METHODS
from metabo.benchmark.metrics import paired_difference
from metabo.benchmark.record import read_results
from metabo.benchmark.report import markdown, summarise

NOT_OTHERS = (*OWN_METHODS, FROM_RUNS, "exact Bayes")  # ours, and a bound


@cache
def contest_rows(folder: Path) -> pd.DataFrame:
    """The rows of all methods; several tables are made of them."""
    return read_results(folder).rows


def contest(name: str, results: Path) -> str:
    """Regrets and mean ranks of all methods, the paired comparisons, and seconds."""
    rows = contest_rows(results / name)
    found = scores.curves(rows)
    counts = scores.shown_counts(found)
    lines = [
        markdown(summarise(rows, "regret", counts)),
        "\nMean ranks (1 is the best), and seconds of a suggestion:\n",
        mean_ranks(name, results),
        "",
    ]
    for ours, theirs in ((3, 8), (8, 25), (25, 25)):
        more = gain(found, ("vanilla GP", theirs), ("metabo", ours))
        lines.append(
            f"- Regret of the vanilla GP after {theirs} minus metabo's after {ours}: {more}."
        )
    others = scores.curves(scores.in_all_problems(rows[~rows["method"].isin(NOT_OTHERS)]))
    for n in (n for n in (3, 5, 10, 25) if n in counts):
        best = strongest(others, n)
        more = gain(found, (best, n), ("metabo", n))
        lines.append(
            f"- Of the others {best} has the smallest regret after {n}; minus metabo's: {more}."
        )
    return "\n".join(lines)


def strongest(found: pd.DataFrame, n: int) -> str:
    """The method with the smallest mean regret after n."""
    return str(scores.over_tasks(scores.regrets(found, n)).mean().idxmin())


def gain(found: pd.DataFrame, theirs: tuple[str, int], ours: tuple[str, int]) -> str:
    """What one method's regret after n evaluations is more than another's, over tasks.

    Args:
        found: From `scores.curves`.
        theirs: The method, and n.
        ours: Likewise.
    """
    (a, _), (b, _) = theirs, ours
    worse, better = (scores.over_tasks(scores.regrets(found, n)) for _, n in (theirs, ours))
    return f"{paired_difference(worse[a], better[b])}, over {len(worse)} tasks"


def mean_ranks(name: str, results: Path, without: Sequence[str] = ()) -> str:
    """The mean ranks of all methods, the best at the end first, and seconds of a suggestion.

    Those that do not take part in every problem are left out.
    """
    rows = contest_rows(results / name)
    rows = scores.in_all_problems(rows[~rows["method"].isin(without)])
    found, seconds = scores.curves(rows), scores.seconds(rows)
    counts = scores.shown_counts(found)
    ranks = pd.DataFrame({n: scores.ranks(found, n).mean() for n in counts})
    lines = [
        "| method | " + " | ".join(f"n = {n}" for n in counts) + " | seconds: median | mean |",
        "|---|" + "---:|" * (len(counts) + 2),
    ]
    for method, own in ranks.sort_values(counts[-1]).iterrows():
        cells = " | ".join(f"{rank:.2f}" for rank in own)
        took = seconds.loc[method]
        lines.append(f"| {method} | {cells} | {took['median']:.2g} | {took['mean']:.2g} |")
    return "\n".join(lines)


def point_effects(results: Path) -> str:
    """Regrets with and without the effects of single points, and what they differ by."""
    rows = pd.read_csv(results / "point_effects" / "rows.csv")
    counts = (1, 2, 3, 5, 10, 25)
    found = scores.curves(rows)
    lines = [markdown(summarise(rows, "regret", counts)), ""]
    for n in counts:
        more = gain(found, ("metabo, without effects", n), ("metabo", n))
        lines.append(f"- Regret without the effects minus that with them, after {n}: {more}.")
    return "\n".join(lines)
