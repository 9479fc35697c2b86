"""A prior that is quick to make, for tests of what is done with it."""

from __future__ import annotations

import pytest

from metabo.benchmark.demo import DemoSettings
from metabo.meta_training.meta_train import meta_train
from metabo.prior import Prior
from metabo.tasks import LogisticFamily


@pytest.fixture(scope="session")
def prior() -> Prior:
    settings = DemoSettings.smoke().meta_train
    return meta_train(LogisticFamily(), seed=0, settings=settings, device="cpu", progress=False)
