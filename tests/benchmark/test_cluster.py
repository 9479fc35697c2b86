"""What runs here runs on a cluster: the same rows, the same failure, in other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metabo.benchmark.cluster import on_cluster

# In a process of its own, as a user would: a cluster's own threads outlive it.
SCRIPT = """
import os, sys
from functools import partial
from pathlib import Path
from metabo.benchmark.cells import Cell, run_cells
from metabo.benchmark.cluster import on_cluster

def call(x):
    return [{"x": 6 // x, "elsewhere": os.getpid() != HERE}]

def run(jobs):
    cells = [Cell({"x": x}, partial(call, x)) for x in range(4)]
    return run_cells(cells, Path(sys.argv[1]), label="", jobs=jobs)

if __name__ == "__main__":
    HERE = os.getpid()
    if sys.argv[2] == "dask":
        from distributed import LocalCluster
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            on_cluster(cluster.scheduler_address),
        ):
            results = run(None)
    else:
        with on_cluster("ray"):
            results = run(None)
    print(results.rows.to_csv(index=False), [f["error"] for f in results.failures])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_cells_run_on_a_local_cluster(
    tmp_path: Path, kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray leaves a token there
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "cells"), kind]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = found.strip().splitlines()
    assert lines[:4] == ["x,elsewhere", "6,True", "3,True", "2,True"]
    assert "ZeroDivisionError" in lines[-1]
    assert len(list((tmp_path / "cells").iterdir())) == 4


def test_without_an_address_nothing_changes() -> None:
    from joblib.parallel import get_active_backend

    before = type(get_active_backend()[0])
    with on_cluster(None):
        assert type(get_active_backend()[0]) is before
