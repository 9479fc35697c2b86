"""The demo, end to end, in its smallest size."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import metabo
from metabo.cli import app

# Priors of the smallest size know little, and may be refuted.
pytestmark = pytest.mark.filterwarnings("ignore::metabo.optimizer.PriorCollapsedWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(app, ["demo", "--smoke", "--seed", "1", "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_every_method_has_every_row(run: tuple[Path, str]) -> None:
    out, _ = run
    few_shot, regret = (pd.read_csv(out / f"{name}.csv") for name in ("few_shot", "regret"))
    methods = few_shot.groupby("problem")["method"].unique().map(set).to_dict()
    both = {"metabo", "vanilla GP"}
    assert methods == {
        "logistic": both | {"exact Bayes"},
        "soybean": both,
        "DNase": both,
        "HPOBench": both,
    }
    for frame in (few_shot, regret):
        assert frame.notna().all().all()
        assert not frame.duplicated(["problem", "task", "seed", "method", "n"]).any()
        sizes = frame.groupby(["problem", "method"]).size().groupby("problem").nunique()
        assert (sizes == 1).all()
    assert regret["regret"].between(0, 1).all()


def test_it_says_what_it_found_and_where(run: tuple[Path, str]) -> None:
    out, output = run
    assert "logistic: mean squared error" in output
    assert "of the gap between vanilla GP and exact Bayes" in output.replace("\n", " ")
    assert out.name in output.replace("\n", "")
    files = {file.name for file in out.iterdir()}
    assert {"summary.csv", "meta.json", "few_shot.png", "regret.png"} <= files
    assert {f"{name}_posterior.png" for name in ("logistic", "soybean", "DNase")} <= files


def test_its_priors_can_be_used(run: tuple[Path, str]) -> None:
    out, _ = run
    prior = metabo.Prior.load(out / "soybean.safetensors")
    assert prior.space.names == ("Time",)
    assert (out / "HPOBench_without_phoneme.safetensors").exists()
