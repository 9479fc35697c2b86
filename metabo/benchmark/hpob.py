"""HPO-B's files [PinedaArango2021]_: tuning runs of many models on many data sets.

The data are the user's to download. A file is `{space: {dataset: {"X": n x d, "y": n x 1}}}`; the
points that all methods are to start from are in `bo-initializations.json`,
`{space: {dataset: {"test0": [row, ...], ...}}}`.

.. [PinedaArango2021] S. Pineda Arango, H. Jomaa, M. Wistuba, J. Grabocka. HPO-B: A Large-Scale
   Reproducible Benchmark for Black-Box HPO based on OpenML. arXiv:2106.06257.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabo.benchmark.problems import Problem, table_problem
from metabo.space import InputSpace
from metabo.tasks import TableFamily, Task

_SEED = "test"  # what the names of the starts begin with


def read_hpob(paths: Sequence[Path], space: str) -> TableFamily:
    """The data sets of one search space, as tasks; inputs on the range that was tried.

    Args:
        paths: Files such as `meta-train-dataset.json` and `meta-test-dataset.json`: all those that
            are to share one space.
        space: HPO-B's name of the search space, such as "4796".

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is not of this layout, or none has the search space.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for path in paths:
        for name, data in _load(path).get(space, {}).items():
            found[name] = _observations(path, f"{space}/{name}", data)
    if not found:
        raise ValueError(f"no search space {space!r} in {', '.join(map(str, paths))}")
    inputs = _input_space(torch.cat([X for X, _ in found.values()]))
    return TableFamily([Task(name, inputs, X, Y) for name, (X, Y) in found.items()], inputs)


def hpob_problems(family: TableFamily, initializations: Path, space: str) -> list[Problem]:
    """The tasks of a table that have starts, as problems: seed i starts from HPO-B's `test{i}`.

    Args:
        family: From `read_hpob`.
        initializations: `bo-initializations.json`.
        space: HPO-B's name of the search space.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not of this layout, or names a row that the data set does not have.
    """
    starts = _load(initializations).get(space, {})
    problems = []
    for task in family.only([name for name in family.names if name in starts]).tasks():
        try:
            rows = {int(k.removeprefix(_SEED)): task.X[v] for k, v in starts[task.name].items()}
        except (ValueError, IndexError, TypeError) as error:
            raise ValueError(f"{initializations}, {space}/{task.name}: {error}") from error
        problems.append(table_problem(f"HPO-B {space}", task, initial=rows))
    return problems


def _load(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no JSON object {{search space: {{data set: ...}}}}")
    return content


def _observations(path: Path, name: str, data: Any) -> tuple[Tensor, Tensor]:
    try:
        X = torch.tensor(data["X"], dtype=torch.float64)
        Y = torch.tensor(data["y"], dtype=torch.float64).reshape(-1, 1)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}, {name}: expected {{"X": n x d, "y": n x 1}}: {error}') from error
    if X.ndim != 2 or len(X) != len(Y):
        raise ValueError(f"{path}, {name}: X is {tuple(X.shape)} but y {tuple(Y.shape)}")
    return X, Y


def _input_space(X: Tensor) -> InputSpace:
    """The range of each column; HPO-B has already taken logarithms and coded categories."""
    low, high = X.amin(0), X.amax(0)
    # A column that never changes needs a range too.
    return InputSpace.from_bounds(torch.stack([low, torch.where(high > low, high, low + 1)]))
