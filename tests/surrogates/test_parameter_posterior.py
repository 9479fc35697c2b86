"""The posterior of a family's parameters: against its own draws, and against exact Bayes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from botorch.exceptions.errors import UnsupportedError
from torch import Tensor

from metabo.baselines.exact_bayes import ExactBayes
from metabo.benchmark.demo import DemoSettings
from metabo.meta_training.heads import HeadSettings
from metabo.meta_training.meta_train import meta_train
from metabo.mixture import ParameterMap
from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP
from metabo.surrogates.parameter_posterior import ParameterPosterior
from metabo.tasks import LogisticFamily

Observe = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def known_prior(prior: Prior) -> Prior:
    """Two parameters, which no mixture has been fitted to."""
    generator = torch.Generator().manual_seed(0)
    count, rank = prior.mixture.num_components, prior.mixture.roots.shape[-1]
    roots = 0.3 * torch.randn(count, 2, 2, generator=generator, dtype=torch.float64)
    parameters = ParameterMap(
        names=("slope", "level"),
        low=torch.tensor([1.0, -1.0]).double(),
        high=torch.tensor([10.0, 1.0]).double(),
        offsets=torch.rand(count, 2, generator=generator, dtype=torch.float64),
        slopes=0.2 * torch.randn(count, 2, rank, generator=generator, dtype=torch.float64),
        covariances=roots @ roots.mT + 1e-4 * torch.eye(2),
    )
    return replace(prior, parameters=parameters)


@pytest.fixture
def posterior(known_prior: Prior, observe: Observe) -> ParameterPosterior:
    return MixturePriorGP(*observe(known_prior, 2), known_prior).parameter_posterior()


def test_moments_and_quantiles_are_those_of_draws(posterior: ParameterPosterior) -> None:
    draws = posterior.sample(200_000, seed=0)
    for name, values in draws.items():
        assert values.mean().item() == pytest.approx(posterior.mean[name].item(), abs=0.03)
        assert values.std().item() == pytest.approx(posterior.sd[name].item(), abs=0.03)
        for p in (0.05, 0.3, 0.5, 0.95):
            at_most = (values <= posterior.quantile(p)[name]).double().mean().item()
            at_end = float(posterior.quantile(p)[name]) in (1.0, 10.0, -1.0)
            assert at_most == pytest.approx(p, abs=0.005) or (at_end and at_most > p - 0.005)


def test_draws_stay_in_the_range_and_are_repeatable(posterior: ParameterPosterior) -> None:
    draws = posterior.sample(5000, seed=1)
    assert 1 <= draws["slope"].min() <= draws["slope"].max() <= 10
    assert -1 <= draws["level"].min() <= draws["level"].max() <= 1
    assert torch.equal(draws["slope"], posterior.sample(5000, seed=1)["slope"])
    assert not torch.equal(draws["slope"], posterior.sample(5000, seed=2)["slope"])


def test_the_summary_is_a_table(posterior: ParameterPosterior) -> None:
    table = posterior.summary()
    assert list(table.index) == ["slope", "level"]
    assert list(table.columns) == ["mean", "sd", "5%", "50%", "95%"]
    assert table.loc["level", "mean"] == posterior.mean["level"].item()
    assert table.loc["slope", "95%"] == posterior.quantile(0.95)["slope"].item()


@pytest.mark.parametrize("n", [0, 3])
def test_a_batch_is_its_tasks_one_by_one(known_prior: Prior, observe: Observe, n: int) -> None:
    tasks = [observe(known_prior, n, seed=i) for i in range(6)]
    X = torch.stack([x for x, _ in tasks]).reshape(3, 2, n, 2)
    Y = torch.stack([y for _, y in tasks]).reshape(3, 2, n, 1)
    together = MixturePriorGP(X, Y, known_prior).parameter_posterior()
    assert together.sample(5, seed=0)["slope"].shape == (5, 3, 2)
    for i, task in enumerate(tasks):
        alone = MixturePriorGP(*task, known_prior).parameter_posterior()
        at = (i // 2, i % 2)
        for name in ("slope", "level"):
            torch.testing.assert_close(together.mean[name][at], alone.mean[name])
            torch.testing.assert_close(together.sd[name][at], alone.sd[name])
            torch.testing.assert_close(together.quantile(0.2)[name][at], alone.quantile(0.2)[name])


def test_fantasies_have_parameters_too(known_prior: Prior, observe: Observe) -> None:
    X, Y = observe(known_prior, 4)
    model = MixturePriorGP(X[:3], Y[:3], known_prior)
    fantasies = model.condition_on_observations(X[3:], Y[3:].expand(7, 1, 1))
    expected = MixturePriorGP(X, Y, known_prior).parameter_posterior().mean["slope"]
    torch.testing.assert_close(fantasies.parameter_posterior().mean["slope"], expected.expand(7))
    assert fantasies.parameter_posterior().sample(2, seed=0)["slope"].shape == (2, 7)


def test_it_is_saved_with_the_prior(known_prior: Prior, observe: Observe, tmp_path: Path) -> None:
    known_prior.save(tmp_path / "prior.safetensors")
    loaded = Prior.load(tmp_path / "prior.safetensors")
    X, Y = observe(known_prior, 3)
    before, after = (MixturePriorGP(X, Y, p).parameter_posterior() for p in (known_prior, loaded))
    assert torch.equal(before.sample(9, seed=0)["level"], after.sample(9, seed=0)["level"])


def test_a_family_without_known_parameters_says_so(prior: Prior, observe: Observe) -> None:
    with pytest.raises(UnsupportedError, match="no known parameters"):
        MixturePriorGP(*observe(prior, 3), prior).parameter_posterior()


@pytest.mark.slow
def test_it_is_near_exact_bayes_on_logistic_curves() -> None:
    family = LogisticFamily()
    smoke = DemoSettings.smoke().meta_train
    settings = replace(smoke, num_tasks=1000, heads=HeadSettings(num_components=(16,)))
    prior = meta_train(family, settings=settings, progress=False)
    bayes = ExactBayes(family, seed=1)
    gaps: list[float] = []
    guesses: list[float] = []
    inside: list[bool] = []
    for task in family.tasks(40, 3, seed=99):
        assert task.parameters is not None
        found = MixturePriorGP(task.X, task.Y, prior).parameter_posterior()
        draws = bayes.posterior(task.X, task.Y)
        for name, (low, high) in family.parameters.items():
            exact = float(draws.log_weights.exp() @ draws.parameters[name])
            gaps.append(abs(found.mean[name].item() - exact) / (high - low))
            guesses.append(abs((low + high) / 2 - exact) / (high - low))
            interval = [found.quantile(p)[name].item() for p in (0.05, 0.95)]
            inside.append(interval[0] <= task.parameters[name] <= interval[1])
    assert sum(gaps) < 0.5 * sum(guesses)  # 0.13 with the full settings
    assert 0.8 < sum(inside) / len(inside) < 0.99
