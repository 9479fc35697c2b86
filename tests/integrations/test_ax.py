"""A Prior in Ax."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig

from metabo.integrations.ax import generation_strategy, parameters
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import InputSpace, SpaceError
from metabo.surrogates import MixturePriorGP

Made = Callable[..., Prior]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what Ax does inside
    # BoTorch says so before it tries again from other points.
    pytest.mark.filterwarnings("ignore:Optimization failed in `gen_candidates_scipy`"),
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


def client_of(prior: Prior, inputs: list[Any] | None = None) -> Client:
    client = Client(random_seed=0)
    client.configure_experiment(parameters=parameters(prior) if inputs is None else inputs)
    client.configure_optimization(objective="-loss" if prior.minimize else "loss")
    client.set_generation_strategy(generation_strategy(prior))
    return client


def attach(client: Client, points: list[dict[str, Any]], values: list[float]) -> None:
    for point, value in zip(points, values, strict=True):
        client.complete_trial(client.attach_trial(point), raw_data={"loss": value})


@pytest.mark.parametrize("minimize", [False, True])
def test_predicts_as_the_surrogate_itself(make_prior: Made, minimize: bool) -> None:
    prior = make_prior(broad=0.5, minimize=minimize, offset=-3.0 if minimize else 3.0)
    client, X = client_of(prior), prior.space.sample(5, seed=0)
    values = [3.5, 2.0, 4.0, 3.0, 2.5]
    attach(client, prior.space.to_dicts(X[:4]), values[:4])
    client.get_next_trials(1)
    ((mean, error),) = (p["loss"] for p in client.predict(prior.space.to_dicts(X[4:])))
    sign = -1.0 if minimize else 1.0
    Y = sign * torch.tensor(values[:4], dtype=torch.float64).unsqueeze(-1)
    posterior = MixturePriorGP(X[:4], Y, prior).posterior(X[4:])
    assert mean == pytest.approx(sign * posterior.mean.item(), rel=1e-6)
    assert error == pytest.approx(posterior.variance.sqrt().item(), rel=1e-6)


@pytest.mark.slow
def test_optimises(make_prior: Made) -> None:
    prior = make_prior(InputSpace.from_bounds((-4, 4)), broad=0.9, minimize=True, offset=-3.0)
    client = client_of(prior)
    attach(client, [Optimizer(prior).ask()], [5.0])
    for _ in range(6):
        for index, point in client.get_next_trials(1).items():
            client.complete_trial(index, raw_data={"loss": 2 + (point["x"] - 1) ** 2 / 4})
    best, *_ = client.get_best_parameterization()
    assert abs(best["x"] - 1) < 0.5
    nodes = [trial.generator_runs[0]._generation_node_name for trial in experiment(client)[1:]]
    assert nodes == ["metabo"] * 6  # none is quasi-random: there was a first trial


def experiment(client: Client) -> list[Any]:
    return list(client._experiment.trials.values())


def test_without_a_first_trial_the_first_is_quasi_random(prior: Prior) -> None:
    client = client_of(prior)
    (point,) = client.get_next_trials(1).values()
    prior.space.check(prior.space.to_tensor(point))


def test_columns_are_the_priors_inputs(mixed_prior: Prior) -> None:
    """In another order, on a log scale and with indices for categories."""
    client = client_of(mixed_prior, parameters(mixed_prior)[::-1])
    X = mixed_prior.space.sample(4, seed=0)
    attach(client, mixed_prior.space.to_dicts(X), [1.0, 2.0, 3.0, 2.0])
    (point,) = client.get_next_trials(1).values()
    mixed_prior.space.check(mixed_prior.space.to_tensor(point))
    model = client._generation_strategy.adapter.generator.surrogate.model
    assert torch.allclose(model._preprocess(model.train_inputs[0]), X)
    assert model.train_targets.tolist() == [1, 2, 3, 2]


def test_a_saved_client_goes_on(mixed_prior: Prior, tmp_path: Path) -> None:
    client, path = client_of(mixed_prior), tmp_path / "client.json"
    attach(client, mixed_prior.space.to_dicts(mixed_prior.space.sample(3, seed=0)), [1.0, 3.0, 2.0])
    for index in client.get_next_trials(1):
        client.complete_trial(index, raw_data={"loss": 2.5})
    client.save_to_json_file(str(path))
    saved = json.loads(path.read_text())
    assert "metabo.Prior" in json.dumps(saved["generation_strategy"])
    assert "metabo.Prior" not in json.dumps(saved["experiment"])  # which grows with the trials
    loaded = Client.load_from_json_file(str(path))
    for each in (client, loaded):
        (point,) = each.get_next_trials(1).values()
        mixed_prior.space.check(mixed_prior.space.to_tensor(point))
    asked = mixed_prior.space.to_dicts(mixed_prior.space.sample(2, seed=1))
    for before, after in zip(client.predict(asked), loaded.predict(asked), strict=True):
        assert after["loss"] == pytest.approx(before["loss"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x1": (-4, 4), "z": (0, 1)}, r"parameters \['x1', 'z'\], but the Prior has .*'x2'"),
        ({"x1": (-9, 4), "x2": (0, 1)}, r"bounds, row 0: input 'x1' is -9.0, outside"),
    ],
)
def test_an_experiment_of_another_space(
    prior: Prior, inputs: dict[str, tuple[float, float]], message: str
) -> None:
    configs = [
        RangeParameterConfig(name=name, bounds=bounds, parameter_type="float")
        for name, bounds in inputs.items()
    ]
    client = client_of(prior, configs)
    attach(client, [dict.fromkeys(inputs, 0.5)], [1.0])
    with pytest.raises(SpaceError, match=message):
        client.get_next_trials(1)


def test_a_first_trial_that_failed_is_followed_by_another(prior: Prior) -> None:
    client = client_of(prior)
    client.mark_trial_failed(client.attach_trial(Optimizer(prior).ask()))
    (point,) = client.get_next_trials(1).values()
    prior.space.check(prior.space.to_tensor(point))


def test_a_value_that_is_too_large(prior: Prior) -> None:
    client = client_of(prior)
    attach(client, [Optimizer(prior).ask()], [1e300])
    with pytest.raises(ValueError, match="a value of 'loss' is too large"):
        client.get_next_trials(1)


@pytest.mark.parametrize(
    ("objective", "limits"), [("loss, -cost", None), ("loss", ["cost <= 0.1"])]
)
def test_a_second_outcome_is_refused(
    prior: Prior, objective: str, limits: list[str] | None
) -> None:
    client = Client(random_seed=0)
    client.configure_experiment(parameters=parameters(prior))
    client.configure_optimization(objective=objective, outcome_constraints=limits)
    client.set_generation_strategy(generation_strategy(prior))
    trial = client.attach_trial(Optimizer(prior).ask())
    client.complete_trial(trial, raw_data={"loss": 3.0, "cost": 0.05})
    with pytest.raises(ValueError, match="a Prior is of one outcome"):
        client.get_next_trials(1)
