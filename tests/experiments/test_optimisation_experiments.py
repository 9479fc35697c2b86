"""Every optimisation experiment runs, and leaves rows, their origin and a report."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPTS = Path(__file__).parents[2] / "experiments"
SLOW = pytest.mark.slow
PROBLEMS = {
    "bo_logistic": {f"logistic, {job}" for job in ("value", "net benefit", "target", "slope")},
    "bo_surfaces": {f"surface, d = {dim}" for dim in (2, 4, 8)},
    "bo_hpobench": {"HPOBench"},
    "bo_hpolib": {"HPOLib"},
    "bo_nasbench201": {"NAS-Bench-201"},
    "bo_svm_digits": {"SVM"},
}


@pytest.mark.parametrize(
    "name",
    [name if name == "bo_nasbench201" else pytest.param(name, marks=SLOW) for name in PROBLEMS],
)
def test_smoke(name: str, tmp_path: Path) -> None:
    main = runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"]
    main(smoke=True, seed=2, out=tmp_path / "out", work=tmp_path / "work")
    rows = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert set(rows["problem"]) == PROBLEMS[name]
    assert set(rows["seed"]) == {2}
    runs = rows.groupby(["problem", "task", "method"])["n"].apply(list)
    assert all(n == [1, 2, 3, 4] for n in runs)
    assert {"metabo", "random", "vanilla GP"} <= set(rows["method"])
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert meta["settings"]["evaluations"] == 4
    assert json.loads((tmp_path / "out" / "failures.json").read_text()) == []
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()


def test_hpob_on_files_of_its_layout(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def data_set(top: float) -> dict[str, list[list[float]]]:
        X = random.random((25, 2))
        return {"X": X.tolist(), "y": (1 - (X[:, :1] - top) ** 2).tolist()}

    starts = {f"test{i}": random.permutation(25)[:2].tolist() for i in range(5)}
    files = {
        "meta-train-dataset": {"4796": {str(i): data_set(0.1 * i) for i in range(6)}},
        "meta-test-dataset": {"4796": {"new": data_set(0.35)}},
        "bo-initializations": {"4796": {"new": starts}},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    main = runpy.run_path(str(SCRIPTS / "bo_hpob.py"))["main"]
    out = tmp_path / "out"
    main(tmp_path, "4796", smoke=True, method=["metabo", "random", "average rank"], out=out)
    rows = pd.read_csv(out / "rows.csv")
    assert set(rows["method"]) == {"metabo", "random", "average rank"}
    assert set(rows["task"]) == {"new"}
    # The first two evaluations are HPO-B's: the same for all.
    assert (rows[rows["n"] <= 2].groupby("n")["regret"].nunique() == 1).all()
