"""Scores against figures worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy import stats

from metabo.benchmark import scores
from metabo.benchmark.ranking import rank_methods

# Regrets after 1, 2, ... evaluations, by method, task and seed.
RUNS = {
    ("vanilla GP", "a", 0): [0.8, 0.4, 0.2],
    ("vanilla GP", "a", 1): [0.6, 0.4, 0.0],
    ("vanilla GP", "b", 0): [0.9, 0.9, 0.1],
    ("vanilla GP", "b", 1): [0.5, 0.5, 0.1],
    ("metabo", "a", 0): [0.4, 0.1, 0.1],
    ("metabo", "a", 1): [0.2, 0.1],  # ended early: it stays there
    ("metabo", "b", 0): [0.3, 0.1, 0.1],
    ("metabo", "b", 1): [0.5, 0.3, 0.3],
    ("other", "a", 0): [0.4, 0.4, 0.4],
    ("other", "a", 1): [0.4, 0.4, 0.4],
    ("other", "b", 0): [0.2, 0.2, 0.2],  # and failed with the other seed
}


def rows_of(runs: dict[tuple[str, str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"problem": "p", "task": task, "seed": seed, "method": method, "n": n, "regret": regret}
            for (method, task, seed), regrets in runs.items()
            for n, regret in enumerate(regrets, 1)
        ]
    ).assign(seconds=0.5)


ROWS = rows_of(RUNS)
FOUND = scores.curves(ROWS)


def test_a_short_run_stays_where_it_was_and_ours_comes_first() -> None:
    table = scores.regrets(FOUND, 3)
    assert list(table.columns) == ["metabo", "vanilla GP", "other"]
    assert table.loc[("p", "a", 1), "metabo"] == 0.1
    assert table["other"].isna().sum() == 1


def test_ranks_share_ties_and_put_failures_last() -> None:
    found = scores.ranks(FOUND, 1)
    assert found.loc[("p", "a", 0)].to_dict() == {"metabo": 1.5, "vanilla GP": 3, "other": 1.5}
    assert found.loc[("p", "b", 1)].to_dict() == {"metabo": 1.5, "vanilla GP": 1.5, "other": 3}


def test_rounding_makes_no_ranks() -> None:
    runs = {("metabo", "a", 0): [1e-16], ("other", "a", 0): [0.0], ("third", "a", 0): [1e-3]}
    found = scores.ranks(scores.curves(rows_of(runs)), 1)
    assert found.loc[("p", "a", 0)].to_dict() == {"metabo": 1.5, "other": 1.5, "third": 3}


def test_only_methods_of_every_problem_are_compared_over_all() -> None:
    more = rows_of({("metabo", "c", 0): [0.1], ("vanilla GP", "c", 0): [0.2]}).assign(problem="q")
    rows = scores.in_all_problems(pd.concat([ROWS, more]))
    assert set(rows["method"]) == {"metabo", "vanilla GP"}


def test_to_fail_where_it_is_hard_does_not_help() -> None:
    runs = {k: v for k, v in RUNS.items() if k[0] != "other"}
    goal, needed = scores.evaluations_needed(scores.curves(rows_of(runs)))
    assert (goal, needed["metabo"]) == (pytest.approx(0.1), None)
    # The hard run of b, in which metabo falls behind, judges nobody if one has failed in it.
    del runs["vanilla GP", "b", 1]
    goal, needed = scores.evaluations_needed(scores.curves(rows_of(runs)))
    assert (goal, needed["metabo"]) == (pytest.approx(0.1), 2)


def test_seeds_are_averaged_before_tasks() -> None:
    # Task a has two runs of the other method, task b one: each task counts once.
    found = scores.summary(scores.regrets(FOUND, 1))
    assert found.loc["other", "mean"] == pytest.approx((0.4 + 0.2) / 2)
    assert found.loc["vanilla GP", "mean"] == pytest.approx((0.7 + 0.7) / 2)
    assert found.loc["vanilla GP", ["low", "high"]].tolist() == pytest.approx([0.7, 0.7])


def test_evaluations_needed() -> None:
    goal, needed = scores.evaluations_needed(FOUND)
    assert goal == pytest.approx(0.1)  # of the vanilla GP in the end
    # Without the run of b in which the other method failed, and metabo did not reach it.
    assert needed == {"metabo": 2, "vanilla GP": 3, "other": None}
    sooner = rows_of({**RUNS, ("metabo", "b", 1): [0.5, 0.1, 0.1]})
    assert scores.evaluations_needed(scores.curves(sooner))[1]["metabo"] == 2


def test_seconds_beside_the_vanilla_gp() -> None:
    rows = ROWS.assign(seconds=ROWS["method"].map({"vanilla GP": 2.0, "metabo": 0.1, "other": 4.0}))
    found = scores.seconds(rows)
    assert found["times_faster"].to_dict() == pytest.approx(
        {"metabo": 20.0, "vanilla GP": 1.0, "other": 0.5}
    )


def test_paired_differences() -> None:
    found = scores.paired(FOUND, [2]).set_index("method")
    vanilla = found.loc["vanilla GP"]
    assert vanilla["mean"] == pytest.approx(((0.3 + 0.3) / 2 + (0.8 + 0.2) / 2) / 2)
    assert (vanilla["better"], vanilla["worse"], vanilla["runs"]) == (4, 0, 4)
    assert vanilla["p_runs"] == pytest.approx(stats.wilcoxon([0.3, 0.3, 0.8, 0.2]).pvalue)
    assert found.loc["other", "runs"] == 3


def test_ranking_tells_apart_what_differs() -> None:
    runs = {}
    for t in range(12):
        for seed in range(2):
            noise = ((7 * t + 3 * seed) % 5) / 100
            runs[("metabo", f"t{t}", seed)] = [0.1 + noise]
            runs[("vanilla GP", f"t{t}", seed)] = [0.5 + noise / 2]
            runs[("other", f"t{t}", seed)] = [0.5 + ((t + seed) % 3 - 1) / 20]
    ranking = rank_methods(scores.curves(rows_of(runs)), 1)
    assert ranking is not None
    assert (ranking.blocks, ranking.unit) == (12, "tasks")
    assert ranking.test.startswith("Wilcoxon")
    assert ranking.ranks.index[0] == "metabo"
    assert ranking.ranks["metabo"] == 1
    # Twelve differences of one sign: p = 2 / 2^12 each, times 3 for the smallest, 2 for the next.
    assert ranking.p.loc["metabo", "other"] == pytest.approx(3 * 2 / 2**12, abs=2e-3)
    assert ranking.p.loc["vanilla GP", "other"] > 0.05
    assert ranking.friedman < 0.001


def test_many_methods_on_few_tasks_are_told_apart_by_nemenyi() -> None:
    runs = {
        (f"m{i}", f"t{t}", 0): [float(i + ((t + i) % 2) / 10)] for i in range(10) for t in range(8)
    }
    ranking = rank_methods(scores.curves(rows_of(runs)), 1)
    assert ranking is not None
    assert ranking.test == "Nemenyi's test"
    # The critical difference of 10 methods on 8 tasks: 3.164 sqrt(10 * 11 / 48) = 4.79 ranks.
    assert ranking.p.loc["m0", "m4"] > 0.05
    assert ranking.p.loc["m0", "m5"] < 0.05


def test_few_tasks_are_ranked_by_runs_and_few_runs_not_at_all() -> None:
    few = {
        (method, "a", seed): [value * (1 + seed)]
        for method, value in {"metabo": 0.1, "b": 0.2, "c": 0.3}.items()
        for seed in range(7)
    }
    ranking = rank_methods(scores.curves(rows_of(few)), 1)
    assert ranking is not None
    assert (ranking.blocks, ranking.unit) == (7, "runs")
    assert rank_methods(FOUND, 1) is None
