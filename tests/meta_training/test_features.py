"""The part of meta-training that trains the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metabo.meta_training.features import FeatureSettings
from metabo.meta_training.meta_train import MetaTrainSettings, meta_train
from metabo.meta_training.records import Records
from metabo.meta_training.refine import RefineSettings
from metabo.meta_training.reptile import ReptileSettings
from metabo.prior import Prior
from metabo.tasks import LogisticFamily, TableFamily

FEATURES = FeatureSettings(
    hidden=(8,),
    reptile=ReptileSettings(outer_steps=4, tasks_per_step=4, inner_steps=2, points_per_step=3),
    refine=RefineSettings(steps=2, feature_step_size=0.0),
)


def train(features: FeatureSettings = FEATURES, records: Records | None = None) -> Prior:
    settings = MetaTrainSettings(num_tasks=20, points_per_task=8, features=features)
    return meta_train(
        LogisticFamily(), seed=0, settings=settings, device="cpu", progress=False, records=records
    )


def same_features(one: Prior, other: Prior) -> bool:
    pairs = zip(one.network.layers, other.network.layers, strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_meta_training_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    path, curve = tmp_path / "run.safetensors", tmp_path / "curve.csv"
    first = train(records=Records(path, curve=curve))
    parts = ("fold0", "shifted-fold0")
    curves = [curve.with_name(f"curve-{part}.csv") for part in parts]
    assert {file.name for file in tmp_path.iterdir()} == {
        *(f"run-{part}.safetensors" for part in parts),
        *(file.name for file in curves),
    }
    for file in curves:
        file.unlink()
    again = train(records=Records(path, curve=curve, resume=True))
    assert same_features(first, again)
    for file in curves:  # not a step was taken again
        assert len(file.read_text().splitlines()) == 1


def test_every_network_of_a_table_has_a_checkpoint(tmp_path: Path) -> None:
    family = LogisticFamily()
    table = TableFamily(family.tasks(3, 6, seed=0), family.space)
    settings = MetaTrainSettings(features=FEATURES)
    records = Records(tmp_path / "run.safetensors")
    meta_train(table, settings=settings, device="cpu", progress=False, records=records)
    parts = ("fold0", "fold1", "fold2", "all")
    found = {file.stem for file in tmp_path.iterdir()}
    shifted = {name for name in found if "shifted" in name}  # with levels or without
    assert found - shifted == {
        f"run-{levels}{part}" for levels in ("", "levels-") for part in parts
    }
    assert {name.removeprefix("run-shifted-").removeprefix("levels-") for name in shifted} == {
        *parts
    }


def test_the_algorithm_and_the_start_matter() -> None:
    ways = [
        FEATURES,
        replace(FEATURES, algorithm="first-order MAML"),
        replace(FEATURES, algorithm="MAML"),
        replace(FEATURES, reptile=None),
    ]
    priors = [train(features) for features in ways]
    assert same_features(priors[0], train(ways[0]))
    for i, prior in enumerate(priors):
        assert not any(same_features(prior, other) for other in priors[:i])


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of Reptile, first-order MAML, MAML; got 'x'"):
        FeatureSettings(algorithm="x")
