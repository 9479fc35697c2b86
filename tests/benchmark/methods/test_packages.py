"""Other packages take part by name, and say what to install."""

from __future__ import annotations

import sys

import pytest

from metabo.benchmark.methods import PACKAGE_METHODS, package_methods
from metabo.benchmark.problems import grid_problem
from metabo.tasks import LogisticFamily, TableFamily

FAMILY = LogisticFamily()
RUNS = TableFamily(FAMILY.tasks(3, 10, seed=0), FAMILY.space)


@pytest.mark.parametrize("method", package_methods(RUNS, seed=0), ids=PACKAGE_METHODS)
def test_what_is_not_installed_is_named(method, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "baybe" if method.name == "BayBE" else "syne_tune"
    monkeypatch.delitem(sys.modules, f"metabo.baselines.{missing}", raising=False)
    for name in {missing, *(name for name in sys.modules if name.startswith(f"{missing}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    problem = grid_problem("l", FAMILY.tasks(1, 5, seed=1)[0], noise_sd=0.05, objective=None)
    with pytest.raises(ImportError, match=rf"needs {missing}.*pip install .metabo\[packages\]"):
        method.search(problem, seed=0)
