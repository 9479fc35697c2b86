"""Run on a cluster what would run on this machine: Dask or Ray, through joblib."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import joblib


@contextmanager
def on_cluster(address: str | None) -> Iterator[None]:
    """Within this context, cells that are run with `jobs=None` run on a cluster.

    Args:
        address: Of Dask's scheduler, such as `tcp://host:8786`; or `ray` (the Ray cluster that
            this machine belongs to, or a new one on it) or `ray://host:10001`. None: nothing
            changes.

    Raises:
        ImportError: If the cluster's package is not installed.
    """
    if address is None:
        yield
    elif address.startswith("ray"):
        with _ray(None if address == "ray" else address):
            yield
    else:
        with _dask(address):
            yield


@contextmanager
def _dask(address: str) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError('Dask is not installed: pip install "metabo[dask]"') from error
    with Client(address), joblib.parallel_config("dask", n_jobs=-1):
        yield


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise ImportError('Ray is not installed: pip install "metabo[ray]"') from error

    class Backend(RayBackend):
        # joblib's process pools, from which Ray's descends, hang if results are not all fetched.
        # They always are here, and are wanted one by one.
        supports_return_generator = True

    joblib.register_parallel_backend("metabo-ray", Backend)
    ray.init(address, ignore_reinit_error=True)
    try:
        with joblib.parallel_config("metabo-ray", n_jobs=-1):
            yield
    finally:
        ray.shutdown()
