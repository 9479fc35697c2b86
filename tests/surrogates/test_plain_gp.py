"""The two plain surrogates: against GPyTorch by hand, and as BoTorch uses a SingleTaskGP."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import gpytorch
import pytest
import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.acquisition.joint_entropy_search import qJointEntropySearch
from botorch.acquisition.max_value_entropy_search import qMaxValueEntropy
from botorch.acquisition.thompson_sampling import PathwiseThompsonSampling
from botorch.acquisition.utils import get_optimal_samples
from botorch.exceptions.errors import InputDataError
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.optim import optimize_acqf
from botorch.sampling import SobolQMCNormalSampler
from botorch.sampling.pathwise import draw_matheron_paths
from botorch.utils.datasets import SupervisedDataset
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Size, Tensor

from metabo.benchmark.demo import DemoSettings
from metabo.meta_training.meta_train import meta_train
from metabo.prior import PlainKernels, PooledKernel, Prior
from metabo.space import SpaceError
from metabo.surrogates.kernel_gp import ReptileKernelGP
from metabo.surrogates.mean_gp import ReptileMeanGP
from metabo.surrogates.plain_gp import PlainGP
from metabo.tasks import LogisticFamily
from metabo.warp import Warp

Surrogate = type[ReptileMeanGP] | type[ReptileKernelGP]
Observe = Callable[..., tuple[Tensor, Tensor]]
KERNELS = PlainKernels(
    on_inputs=PooledKernel(0.6, (0.5, 1.5), 0.01), on_features=PooledKernel(0.8, (1.2,), 0.02)
)
SURROGATES = [ReptileMeanGP, ReptileKernelGP]
pytestmark = pytest.mark.filterwarnings(
    "ignore:The model inputs are of type torch.float32:botorch.exceptions.InputDataWarning"
)


@pytest.fixture(params=SURROGATES)
def surrogate(request: pytest.FixtureRequest) -> Surrogate:
    return request.param


@pytest.fixture
def plain_prior(make_prior: Callable[..., Prior]) -> Prior:
    return make_prior(broad=0.1, plain=KERNELS)


@pytest.fixture
def model(surrogate: Surrogate, plain_prior: Prior, observe: Observe) -> PlainGP:
    return surrogate(*observe(plain_prior, 6), plain_prior)


def fit(model: PlainGP) -> PlainGP:
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def weights(prior: Prior) -> list[Tensor]:
    tensors = list(prior.mixture.tensors().values()) + list(prior.network.parameters())
    return [tensor.detach().clone() for tensor in tensors]


class ByHand(gpytorch.models.ExactGP):
    """In model units; the prior's features are computed outside."""

    def __init__(self, prior: Prior, seen: Tensor, mean: Tensor, Y: Tensor, kernel: PooledKernel):
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        likelihood.noise = kernel.noise
        self.width = seen.shape[-1]
        super().__init__(torch.cat([seen, mean.unsqueeze(-1)], -1), Y, likelihood)
        matern = gpytorch.kernels.MaternKernel(2.5, ard_num_dims=self.width)
        self.kernel = gpytorch.kernels.ScaleKernel(matern).double()
        matern.lengthscale = torch.tensor(kernel.lengthscales).expand(self.width)
        self.kernel.outputscale = kernel.outputscale

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        covariance = self.kernel(x[..., : self.width])
        return gpytorch.distributions.MultivariateNormal(x[..., self.width], covariance)


def test_posterior_is_that_of_a_model_built_by_hand(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    X, Y = observe(plain_prior, 7)
    query = plain_prior.space.sample(5, seed=9)
    mixture, family = plain_prior.mixture, ~plain_prior.mixture.is_broad
    shares = mixture.log_weights.exp()[family]
    head = (shares / shares.sum()) @ mixture.means[family]
    features, inputs = plain_prior.encode(torch.cat([X, query]))
    on_inputs = surrogate is ReptileMeanGP
    seen = inputs if on_inputs else features[:, :-1]
    reference = ByHand(
        plain_prior,
        seen[:7],
        (features @ head)[:7],
        (Y.squeeze(-1) - plain_prior.output_offset) / plain_prior.output_scale,
        KERNELS.on_inputs if on_inputs else KERNELS.on_features,
    ).eval()
    with torch.no_grad():
        expected = reference(torch.cat([seen, (features @ head).unsqueeze(-1)], -1)[7:])
        found = surrogate(X, Y, plain_prior).posterior(query)
    mean = plain_prior.output_offset + plain_prior.output_scale * expected.mean
    covariance = plain_prior.output_scale**2 * expected.covariance_matrix
    torch.testing.assert_close(found.mean.squeeze(-1), mean)
    torch.testing.assert_close(found.distribution.covariance_matrix, covariance)


@pytest.mark.parametrize(
    ("batch", "dtype"),
    list(product([Size(), Size([2]), Size([3, 2])], [torch.float, torch.double])),
)
def test_batches_are_tasks_one_by_one(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe, batch: Size, dtype: torch.dtype
) -> None:
    tasks = [observe(plain_prior, 5, seed=i) for i in range(batch.numel())]
    X = torch.stack([x for x, _ in tasks]).reshape(*batch, 5, 2).to(dtype)
    Y = torch.stack([y for _, y in tasks]).reshape(*batch, 5, 1).to(dtype)
    query = plain_prior.space.sample(4, seed=3)
    with torch.no_grad():
        found = surrogate(X, Y, plain_prior).posterior(query.to(dtype))
        single = [surrogate(x, y, plain_prior).posterior(query) for x, y in tasks]
    assert found.mean.dtype == dtype
    tolerance = 1e-3 if dtype == torch.float else 1e-9
    for name in ("mean", "variance"):
        expected = torch.stack([getattr(s, name) for s in single]).reshape(*batch, 4, 1)
        torch.testing.assert_close(
            getattr(found, name).double(), expected, rtol=tolerance, atol=tolerance
        )


def test_fitting_and_optimizing_leave_the_prior_as_it_was(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    before = weights(plain_prior)
    X, Y = observe(plain_prior, 6)
    surrogate(
        X.float(), Y.float(), plain_prior
    )  # BoTorch casts what it is given to the data's type
    model = fit(surrogate(X, Y, plain_prior))
    acquisition = LogExpectedImprovement(model, best_f=Y.max())
    bounds = plain_prior.space.bounds
    x, value = optimize_acqf(acquisition, bounds, 1, num_restarts=2, raw_samples=16)
    assert value.isfinite()
    plain_prior.space.check(x)
    for old, new in zip(before, weights(plain_prior), strict=True):
        assert torch.equal(old, new)


def test_a_fit_moves_kernel_and_noise_a_little_and_nothing_else(model: PlainGP) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model)
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert moved == {
        "likelihood.noise_covar.raw_noise",
        "covar_module.raw_outputscale",
        "covar_module.base_kernel.raw_lengthscale",
    }
    assert 0.35 < model.covar_module.outputscale.item() < 1.4


def test_adapting_is_asked_for_by_name(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    before = weights(plain_prior)
    model = surrogate(*observe(plain_prior, 6), plain_prior, adapt=True)
    features = model.mean_module.features
    assert features is model.covar_module.base_kernel.seen.features
    mll = ExactMarginalLogLikelihood(model.likelihood, model.train())
    mll(model(*model.train_inputs), model.train_targets).backward()
    assert model.mean_module.head.grad.abs().sum() > 0
    *layers, head = features.network.layers
    assert all(layer.grad.abs().sum() > 0 for layer in layers)
    assert head.grad is None  # the network's own head is no part of the model
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for old, new in zip(before, weights(plain_prior), strict=True):
        assert torch.equal(old, new)


def test_conditioning_equals_a_rebuild(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    X, Y = observe(plain_prior, 8)
    query = plain_prior.space.sample(4, seed=3)
    some = surrogate(X[:5], Y[:5], plain_prior)
    some.posterior(query)
    with torch.no_grad():
        found = some.condition_on_observations(X[5:], Y[5:]).posterior(query)
        expected = surrogate(X, Y, plain_prior).posterior(query)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.variance, expected.variance, rtol=1e-8, atol=1e-8)


def test_known_noise_is_used(surrogate: Surrogate, plain_prior: Prior, observe: Observe) -> None:
    X, Y = observe(plain_prior, 5)
    with torch.no_grad():
        exact = surrogate(X, Y, plain_prior, torch.full_like(Y, 1e-5)).posterior(X).mean
        vague = surrogate(X, Y, plain_prior, torch.full_like(Y, 1e6)).posterior(X).mean
    torch.testing.assert_close(exact, Y, atol=1e-2, rtol=0)
    mean = plain_prior.encode(X)[0] @ plain_prior.mixture.mean_head
    mean = plain_prior.output_offset + plain_prior.output_scale * mean.unsqueeze(-1)
    torch.testing.assert_close(vague, mean, atol=1e-3, rtol=0)


def test_categories_and_log_scales(
    surrogate: Surrogate, mixed_prior: Prior, observe: Observe
) -> None:
    inputs = mixed_prior.space.encoded_dim
    kernels = replace(KERNELS, on_inputs=PooledKernel(0.6, (1.0,) * inputs, 0.01))
    prior = replace(mixed_prior, plain=kernels)
    X, Y = observe(prior, 6)
    posterior = surrogate(X, Y, prior).posterior(prior.space.sample(4, seed=3))
    assert posterior.mean.isfinite().all()
    assert (posterior.variance > 0).all()


def test_paths_have_the_kernel_of_the_model(model: PlainGP, plain_prior: Prior) -> None:
    torch.manual_seed(0)
    query = plain_prior.space.sample(6, seed=3)
    with torch.no_grad():
        draws = draw_matheron_paths(model, Size([4096]))(query)
        posterior = model.posterior(query)
    deviation = posterior.variance.squeeze(-1).sqrt()
    assert ((draws.mean(0) - posterior.mean.squeeze(-1)).abs() < 0.1 * deviation).all()
    torch.testing.assert_close(draws.std(0), deviation, rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({}, torch.float32),
        ({"known": 5}, torch.float64),
        ({"warp": Warp(3.0, 2.0, 0.4, 0.7), "offset": 0.3, "scale": 1.2}, torch.float64),
        ({"warp": Warp(3.0, 2.0, 0.4, 0.7), "offset": 0.3, "scale": 1.2}, torch.float32),
    ],
    ids=["single precision", "known points", "warp", "warp in single precision"],
)
def test_paths_are_in_the_users_units(
    surrogate: Surrogate,
    make_prior: Callable[..., Prior],
    observe: Observe,
    settings: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    prior = make_prior(broad=0.1, plain=KERNELS, **settings)
    X, Y = (values.to(dtype) for values in observe(prior, 6))
    model = surrogate(X, Y, prior, torch.full_like(Y, 1e-3))
    query = torch.cat([prior.space.sample(3, seed=3), prior.known_points]).to(dtype)
    torch.manual_seed(0)
    with torch.no_grad():
        paths = draw_matheron_paths(model, Size([4096]))
        draws, posterior = paths(query), model.posterior(query)
        near = paths(X).std(0)
    assert draws.dtype == dtype
    deviation = posterior.variance.squeeze(-1).sqrt()
    assert ((draws.mean(0) - posterior.mean.squeeze(-1)).abs() < 0.1 * deviation).all()
    torch.testing.assert_close(draws.std(0), deviation, rtol=0.15, atol=0)
    assert (near < 0.1 * deviation.max()).all()


def test_thompson_sampling_with_a_warp(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    prior = replace(plain_prior, warp=Warp(3.0, 2.0, 0.4, 0.7))
    model, bounds = surrogate(*observe(prior, 5), prior), prior.space.bounds
    torch.manual_seed(0)
    thompson = PathwiseThompsonSampling(model)
    best, value = optimize_acqf(thompson, bounds, q=2, num_restarts=2, raw_samples=32)
    assert best.shape == (2, 2)
    assert value > thompson(prior.space.sample(40, seed=1).reshape(20, 2, 2)).max()


def test_entropy_search_finds_the_users_inputs(model: PlainGP, plain_prior: Prior) -> None:
    torch.manual_seed(0)
    bounds = plain_prior.space.bounds
    X, Y = get_optimal_samples(model, bounds, num_optima=4, raw_samples=32, num_restarts=2)
    candidates = plain_prior.space.sample(50, seed=1)
    for acquisition in (qJointEntropySearch(model, X, Y), qMaxValueEntropy(model, candidates)):
        _, value = optimize_acqf(acquisition, bounds, 1, num_restarts=1, raw_samples=8)
        assert value > 0


def test_it_is_at_home_in_botorch(model: PlainGP, plain_prior: Prior) -> None:
    query = plain_prior.space.sample(4, seed=3)
    fantasies = model.fantasize(query[:2], SobolQMCNormalSampler(Size([3]), seed=0))
    assert fantasies.posterior(query).mean.shape == (3, 4, 1)
    other = SingleTaskGP(torch.rand(4, 2, dtype=torch.float64), torch.randn(4, 1).double())
    assert ModelListGP(model, other).posterior(query).mean.shape == (4, 2)
    expected = model.posterior(query).mean
    loaded = type(model)(model.train_inputs[0], expected[[0] * 6].detach(), plain_prior)
    fit(loaded).load_state_dict(model.state_dict())
    assert torch.equal(loaded.likelihood.noise, model.likelihood.noise)
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.subset_output([0])):
        assert torch.equal(same.posterior(query).mean, expected)


def test_it_is_built_from_a_data_set(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    X, Y = observe(plain_prior, 5)
    data = SupervisedDataset(X, Y, feature_names=["x1", "x2"], outcome_names=["y"])
    model = surrogate(**surrogate.construct_inputs(data, prior=plain_prior))
    assert torch.equal(model.posterior(X).mean, surrogate(X, Y, plain_prior).posterior(X).mean)


def test_the_scale_of_y_is_the_priors(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    X, Y = observe(plain_prior, 1)
    transform = surrogate(X, Y, plain_prior).train().outcome_transform
    assert float(transform.means) == plain_prior.output_offset
    assert float(transform.stdvs) == plain_prior.output_scale
    transform.train()(Y)
    assert float(transform.means) == plain_prior.output_offset


def test_the_scale_of_y_is_exact_and_where_the_data_is(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    prior = replace(plain_prior, output_offset=1e9 + 0.25, output_scale=0.1)
    X, Y = observe(prior, 3)
    transform = surrogate(X, Y, prior).outcome_transform
    assert float(transform.means) == prior.output_offset
    elsewhere = transform.to(torch.device("meta"))
    assert elsewhere(Y.to("meta"))[0].device.type == "meta"


def test_the_scale_of_y_is_moved_before_it_is_applied(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(self: SingleTaskGP, X: Tensor, Y: Tensor, *args: object, **settings: Any) -> None:
        seen.append(settings["outcome_transform"](Y)[0].device.type)
        raise StopIteration

    def unchecked(*args: object, **settings: object) -> None:
        pass

    monkeypatch.setattr(SingleTaskGP, "__init__", spy)
    monkeypatch.setattr("metabo.surrogates.plain_gp.check_training_data", unchecked)
    monkeypatch.setattr("metabo.space.InputSpace.check", unchecked)
    X, Y = (values.to("meta") for values in observe(plain_prior, 3))
    with pytest.raises(StopIteration):
        surrogate(X, Y, plain_prior)
    assert seen == ["meta"]


def test_outputs_of_another_scale_are_fitted_without_underflow(
    surrogate: Surrogate, plain_prior: Prior, observe: Observe
) -> None:
    X, Y = observe(plain_prior, 6)
    model = surrogate(X, Y, plain_prior)
    kernel = model.covar_module
    for parameter in (kernel.raw_outputscale, kernel.base_kernel.raw_lengthscale):
        torch.nn.init.constant_(parameter, -1e4)  # where a step of the optimiser may end
    mll = ExactMarginalLogLikelihood(model.likelihood, model.train())
    assert mll(model(*model.train_inputs), model.train_targets).isfinite()


def test_bad_input(surrogate: Surrogate, plain_prior: Prior, observe: Observe) -> None:
    X, Y = observe(plain_prior, 3)
    with pytest.raises(SpaceError, match="row 0"):
        surrogate(X + 100, Y, plain_prior)
    with pytest.raises(InputDataError, match="nan"):
        surrogate(X, Y * torch.nan, plain_prior)
    with pytest.raises(ValueError, match="make it anew"):
        surrogate(X, Y, replace(plain_prior, plain=None))


@pytest.mark.slow
def test_a_fit_does_not_make_it_overconfident(surrogate: Surrogate) -> None:
    family = LogisticFamily()
    prior = meta_train(family, settings=DemoSettings.smoke().meta_train, progress=False)
    grid = torch.linspace(-4, 4, 50, dtype=torch.float64).unsqueeze(-1)
    inside = []
    for task in family.tasks(20, 10, seed=99):
        assert task.function is not None
        for n in (2, 5, 10):
            model = fit(surrogate(task.X[:n], task.Y[:n], prior))
            with torch.no_grad():
                posterior = model.posterior(grid)
            gap = (posterior.mean - task.function(grid)).abs()
            inside.append((gap < 1.645 * posterior.variance.sqrt()).double().mean())
    assert 0.8 < float(torch.stack(inside).mean()) < 0.99
