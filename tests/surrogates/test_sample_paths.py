"""Functions drawn from the mixture: their distribution is the posterior's, at once everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from botorch.acquisition.joint_entropy_search import qJointEntropySearch
from botorch.acquisition.max_value_entropy_search import qMaxValueEntropy
from botorch.acquisition.objective import ScalarizedPosteriorTransform
from botorch.acquisition.thompson_sampling import PathwiseThompsonSampling
from botorch.acquisition.utils import get_optimal_samples
from botorch.exceptions.errors import UnsupportedError
from botorch.models import ModelListGP
from botorch.models.transforms.input import Normalize
from botorch.models.transforms.outcome import Log
from botorch.optim import optimize_acqf
from botorch.sampling import SobolQMCNormalSampler
from botorch.sampling.pathwise import draw_kernel_feature_paths, draw_matheron_paths
from botorch.sampling.pathwise.posterior_samplers import get_matheron_path_model
from botorch.sampling.pathwise.update_strategies import gaussian_update
from botorch.utils.sampling import draw_sobol_samples, optimize_posterior_samples
from scipy.stats import kstest
from torch import Size, Tensor

from metabo.meta_training.levels import Levels
from metabo.prior import Prior
from metabo.surrogates import MixturePath, MixturePriorGP
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]
DRAWS = 4000


def bounds(model: MixturePriorGP) -> Tensor:
    X = model.prior.space.sample(500, seed=0)
    return torch.stack([X.amin(0), X.amax(0)])


def assert_like_the_posterior(model: MixturePriorGP, X: Tensor) -> None:
    """Mean, covariance and quantiles of many paths, within what chance allows."""
    torch.manual_seed(0)
    values = draw_matheron_paths(model, Size([DRAWS]))(X)
    assert values.shape == (DRAWS, len(X))
    posterior = model.posterior(X)
    sd = posterior.variance.squeeze(-1).sqrt()
    assert_centered(values, model, X)
    scaled = (values - values.mean(0)) / sd
    expected = posterior.covariance_matrix / sd[:, None] / sd
    # Heavy tails: a mixture's fourth moments are larger than a Gaussian's.
    spread = (scaled[:, :, None] * scaled[:, None]).std(0) / DRAWS**0.5
    gap = (scaled.mT @ scaled / DRAWS - expected).abs()
    assert (gap < 5 * spread + 0.02).all()
    for i in range(len(X)):
        own = model.posterior(X[i : i + 1])
        uniform = own.cdf(values[:, i].view(-1, 1, 1)).flatten()
        assert kstest(uniform.numpy(), "uniform").pvalue > 1e-4


def assert_centered(values: Tensor, model: MixturePriorGP, X: Tensor) -> None:
    """The mean of values `DRAWS x ... x q`, within what chance allows."""
    posterior = model.posterior(X)
    error = (values.mean(0) - posterior.mean.squeeze(-1)) / posterior.variance.squeeze(-1).sqrt()
    assert error.abs().max() < 5 / DRAWS**0.5


@pytest.mark.parametrize("n", [0, 1, 6])
def test_paths_are_distributed_as_the_posterior(prior: Prior, observe: Observe, n: int) -> None:
    model = MixturePriorGP(*observe(prior, n), prior)
    assert_like_the_posterior(model, prior.space.sample(5, seed=3))


def test_paths_where_the_remainder_depends_on_the_features(
    make_prior: Callable[..., Prior], observe: Observe
) -> None:
    prior = make_prior(amplitude=0.5, trend=1.0)
    assert_like_the_posterior(
        MixturePriorGP(*observe(prior, 3), prior), prior.space.sample(4, seed=3)
    )


@pytest.mark.parametrize("n", [0, 5])
def test_paths_of_tasks_with_a_level_and_a_scale_of_their_own(
    make_prior: Callable[..., Prior], observe: Observe, n: int
) -> None:
    nodes = torch.tensor([0.3, 1.0, 3.0]).double()
    levels = Levels(
        nodes.new_tensor(1.0), nodes.new_tensor(4.0), nodes, nodes.new_tensor([0.3, 0.5, 0.2]).log()
    )
    prior = make_prior()
    prior = replace(prior, mixture=levels.apply(prior.mixture))
    X, Y = observe(prior, n)
    assert_like_the_posterior(MixturePriorGP(X, 10 - 2 * Y, prior), prior.space.sample(4, seed=3))


@pytest.mark.parametrize("n", [0, 6])
def test_paths_of_a_warped_output(prior: Prior, observe: Observe, n: int) -> None:
    warped = replace(prior, warp=Warp(3.0, 2.0, 0.4, 0.7), output_offset=0.3, output_scale=1.2)
    assert_like_the_posterior(
        MixturePriorGP(*observe(prior, n), warped), prior.space.sample(4, seed=3)
    )


@pytest.mark.parametrize("n", [0, 5])
def test_paths_over_categories_and_whole_numbers(
    mixed_prior: Prior, observe: Observe, n: int
) -> None:
    model = MixturePriorGP(*observe(mixed_prior, n), mixed_prior)
    assert_like_the_posterior(model, mixed_prior.space.sample(4, seed=3))


def test_paths_know_single_points(prior_of_points: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior_of_points, 4), prior_of_points)
    assert_like_the_posterior(model, prior_of_points.known_points[:4])


def test_paths_with_known_noise(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 5)
    model = MixturePriorGP(X, Y, prior, 0.3 * torch.rand_like(Y))
    assert_like_the_posterior(model, torch.cat([X[:2], prior.space.sample(2, seed=3)]))


def test_paths_of_a_broad_component(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 8)
    model = MixturePriorGP(X, -3 * Y, prior).with_fitted_broad()
    assert model.prior_weight < 0.5
    assert_like_the_posterior(model, prior.space.sample(4, seed=3))


def test_paths_pass_where_observations_are_exact(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 6)
    model = MixturePriorGP(X, Y, prior, torch.full_like(Y, 1e-10))
    values = draw_matheron_paths(model, Size([20]))(X)
    torch.testing.assert_close(values, Y.squeeze(-1).expand(20, -1), atol=2e-3, rtol=0)


def test_a_path_is_one_function_with_a_gradient(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 3), prior)
    path = draw_matheron_paths(model, Size([2]))
    X = prior.space.sample(7, seed=5).requires_grad_()
    values = path(X)
    torch.testing.assert_close(path(X[2:4]), values[:, 2:4])
    assert torch.autograd.gradcheck(lambda x: path(x), X, eps=1e-6, atol=1e-4)
    each = torch.stack([X, X.flip(0)])  # to each function its own points
    torch.testing.assert_close(path(each)[1], values[1].flip(0))


def test_many_points_are_worked_on_in_parts(
    prior: Prior, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw_matheron_paths(MixturePriorGP(*observe(prior, 3), prior), Size([3]))
    X = prior.space.sample(50, seed=5)
    whole = path(X)
    monkeypatch.setattr("metabo.mixture.paths._AT_ONCE", 3 * 1024 * 7)
    torch.testing.assert_close(path(X), whole)


def test_batches_of_models_have_functions_of_their_own(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 4)
    both = MixturePriorGP(torch.stack([X, X]), torch.stack([Y, Y + 1]), prior)
    torch.manual_seed(0)
    values = draw_matheron_paths(both, Size([DRAWS]))(X)
    assert values.shape == (DRAWS, 2, 4)
    assert_centered(values, both, X.expand(2, 4, -1))
    best, value = get_optimal_samples(both, bounds(both), 3, raw_samples=64, num_restarts=2)
    assert best.shape == (3, 2, 2)
    assert value.shape == (3, 2, 1)


def test_fantasies_have_functions_of_their_own(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 4), prior)
    X = prior.space.sample(3, seed=3)
    fantasies = model.fantasize(X[:2], SobolQMCNormalSampler(Size([2]), seed=0))
    torch.manual_seed(0)
    values = draw_matheron_paths(fantasies, Size([DRAWS]))(X)
    assert values.shape == (DRAWS, 2, 3)
    assert_centered(values, fantasies, X)


def test_transforms_and_single_precision(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 5)
    low, high = X.amin(0) - 0.1, X.amax(0) + 0.1
    unit = (X - low) / (high - low)
    transform = Normalize(d=2, bounds=torch.stack([low, high]), reverse=True)
    model = MixturePriorGP(
        unit.float(), Y.exp().float(), prior, input_transform=transform, outcome_transform=Log()
    )
    torch.manual_seed(0)
    values = draw_matheron_paths(model, Size([DRAWS]))(unit[:3].float())
    assert values.dtype == torch.float32
    plain = MixturePriorGP(X, Y, prior).posterior(X[:3])
    error = (values.double().log().mean(0) - plain.mean.squeeze(-1)) / plain.variance[:, 0].sqrt()
    assert error.abs().max() < 5 / DRAWS**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_thompson_sampling_and_optimal_samples(
    prior: Prior, observe: Observe, dtype: torch.dtype
) -> None:
    X, Y = observe(prior, 4)
    model = MixturePriorGP(X.to(dtype), Y.to(dtype), prior)
    box = bounds(model).to(dtype)
    torch.manual_seed(0)
    thompson = PathwiseThompsonSampling(model)
    found, value = optimize_acqf(thompson, box, q=2, num_restarts=2, raw_samples=32)
    assert found.shape == (2, 2)
    assert torch.equal(thompson(found), thompson(found))
    # Each point of the batch is the best of a function of its own.
    others = prior.space.sample(40, seed=1).to(dtype).reshape(20, 2, 2)
    assert value > thompson(others).max()
    best, values = get_optimal_samples(model, box, 6, raw_samples=128, num_restarts=3)
    assert best.shape == (6, 2)
    assert best.dtype == values.dtype == dtype
    # The best of a function is above its mean at a point that was not chosen for it.
    mean = model.posterior(prior.space.sample(50, seed=1).to(dtype)).mean
    assert values.mean() > mean.mean()
    lowest = ScalarizedPosteriorTransform(torch.tensor([-1.0], dtype=dtype))
    _, values = get_optimal_samples(
        model, box, 6, raw_samples=128, num_restarts=3, posterior_transform=lowest
    )
    assert values.mean() < mean.mean()


def test_optima_are_those_of_the_functions(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 4), prior)
    paths = get_matheron_path_model(model, Size([5]))
    torch.manual_seed(0)
    best, value = optimize_posterior_samples(paths, bounds(model), raw_samples=256, num_restarts=4)
    torch.testing.assert_close(paths(best.unsqueeze(1))[:, 0], value)
    grid = draw_sobol_samples(bounds(model), 2000, 1, seed=0).squeeze(1)
    assert (value[:, 0] > paths(grid).amax(-2)[:, 0] - 1e-3).all()


def test_entropy_search(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 4), prior)
    torch.manual_seed(0)
    X, Y = get_optimal_samples(model, bounds(model), 4, raw_samples=32, num_restarts=2)
    maximal = qMaxValueEntropy(model, prior.space.sample(50, seed=1))
    for acquisition in (qJointEntropySearch(model, X, Y), maximal):
        _, value = optimize_acqf(acquisition, bounds(model), 1, num_restarts=1, raw_samples=8)
        assert value > 0


def test_in_a_model_list(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 4), prior)
    path = get_matheron_path_model(ModelListGP(model, model), Size([3]))
    assert path(prior.space.sample(5, seed=1)).shape == (3, 5, 2)


def test_a_sampler_of_its_own_is_refused(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 4), prior)
    assert isinstance(draw_matheron_paths(model, Size()), MixturePath)
    with pytest.raises(UnsupportedError, match="leave prior_sampler"):
        draw_matheron_paths(
            model,
            Size(),
            prior_sampler=lambda **_: draw_kernel_feature_paths,
            update_strategy=gaussian_update,
        )


def test_members_leave_it_to_the_mixture(prior: Prior, observe: Observe) -> None:
    members = MixturePriorGP(*observe(prior, 4), prior).members(8)
    with pytest.raises(UnsupportedError, match="draw them from the mixture itself"):
        get_optimal_samples(members, prior.space.bounds, 4)
