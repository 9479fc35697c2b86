"""The surrogates on a GPU: they say what they say on the CPU, and BoTorch can work with them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from botorch.acquisition import (
    LogExpectedImprovement,
    qKnowledgeGradient,
    qLogExpectedImprovement,
    qLogNoisyExpectedImprovement,
    qMaxValueEntropy,
)
from botorch.acquisition.thompson_sampling import PathwiseThompsonSampling
from botorch.fit import fit_gpytorch_mll
from botorch.models.transforms.input import Normalize
from botorch.models.transforms.outcome import Log
from botorch.optim import optimize_acqf, optimize_acqf_mixed_alternating
from botorch.sampling import SobolQMCNormalSampler
from botorch.sampling.pathwise import draw_matheron_paths
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Size, Tensor

from metabo.optimizer import Optimizer
from metabo.prior import PlainKernels, PooledKernel, Prior
from metabo.surrogates import (
    LogIncumbentImprovement,
    MixturePriorGP,
    ReptileKernelGP,
    ReptileMeanGP,
)
from metabo.warp import Warp

KERNEL = PooledKernel(0.6, (0.9,), 0.01)
PRIORS: dict[str, dict[str, Any]] = {
    "two inputs": {"amplitude": 0.3, "trend": 0.3},
    "mixed inputs": {},
    "known points": {"known": 30},
    "warped outputs": {"warp": Warp(3.0, 2.0, 0.3, 0.8)},
}
Observe = Callable[..., tuple[Tensor, Tensor]]
Build = Callable[[torch.device | str], Any]


def sampler() -> SobolQMCNormalSampler:
    """A new one each time, for it remembers the shapes that it has seen."""
    return SobolQMCNormalSampler(Size([16]), seed=0)


@pytest.fixture(params=PRIORS)
def prior(
    request: pytest.FixtureRequest, make_prior: Callable[..., Prior], mixed_prior: Prior
) -> Prior:
    plain = PlainKernels(KERNEL, KERNEL)
    if request.param == "mixed inputs":
        return replace(mixed_prior, plain=plain)
    return make_prior(broad=0.1, plain=plain, **PRIORS[request.param])


@pytest.fixture(params=[MixturePriorGP, ReptileMeanGP, ReptileKernelGP])
def build(request: pytest.FixtureRequest, prior: Prior, observe: Observe) -> Build:
    """Makes the surrogate of six observations on a device, from a Prior on the CPU."""
    X, Y = observe(prior, 6)
    return lambda device: request.param(X.to(device), Y.to(device), prior)


@pytest.fixture(name="test_X")
def points(prior: Prior) -> Tensor:
    return prior.space.sample(5, seed=1)


@torch.no_grad()
def said(model: Any, X: Tensor) -> Iterator[Tensor]:
    """Moments and samples at points, which are moved to the model."""
    device = model.train_targets.device
    posterior = model.posterior(X.to(device))
    covariance = posterior.distribution.covariance_matrix
    for value in (posterior.mean, posterior.variance, covariance, sampler()(posterior)):
        assert value.device == device
        yield value.cpu()


def assert_same(one: Any, other: Any, X: Tensor, tolerance: float = 1e-6) -> None:
    for a, b in zip(said(one, X), said(other, X), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_a_gpu_says_what_the_cpu_says(build: Build, cuda: torch.device, test_X: Tensor) -> None:
    assert_same(build(cuda), build("cpu"), test_X)


@pytest.mark.parametrize("surrogate", [MixturePriorGP, ReptileMeanGP, ReptileKernelGP])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.filterwarnings("ignore:The model inputs are of type torch.float32")
def test_any_precision_known_noise_and_a_prior_on_either_device(
    prior: Prior, observe: Observe, cuda: torch.device, surrogate: Any, dtype: torch.dtype
) -> None:
    X, Y = (value.to(dtype) for value in observe(prior, 6))
    test_X, Yvar = prior.space.sample(5, seed=1).to(dtype), torch.full_like(Y, 0.1)
    expected = surrogate(X, Y, prior, Yvar)
    X, Y, Yvar = X.to(cuda), Y.to(cuda), Yvar.to(cuda)
    tolerance = 1e-6 if dtype == torch.float64 else 1e-3
    assert_same(surrogate(X, Y, prior, Yvar), expected, test_X, tolerance)
    assert_same(surrogate(X, Y, prior.to(cuda), Yvar), expected, test_X, tolerance)
    assert_same(surrogate(X.cpu(), Y.cpu(), prior.to(cuda), Yvar.cpu()), expected, test_X)


def test_models_and_states_move(build: Build, cuda: torch.device, test_X: Tensor) -> None:
    expected, there = build("cpu"), build(cuda)
    moved = getattr(copy.deepcopy(expected), cuda.type)()  # model.cuda()
    assert moved.train_targets.device == there.train_targets.device
    there.load_state_dict(expected.state_dict())
    build("cpu").load_state_dict(there.state_dict())
    for model in (there, moved, copy.deepcopy(there), there.subset_output([0]), moved.cpu()):
        assert_same(model, expected, test_X)


def test_more_observations(
    build: Build, prior: Prior, observe: Observe, cuda: torch.device, test_X: Tensor
) -> None:
    X, Y = observe(prior, 3, seed=3)
    results = []
    for model in (build(cuda), build("cpu")):
        device = model.train_targets.device
        with torch.no_grad():
            model.posterior(test_X.to(device))  # GPyTorch conditions what has predicted before
            conditioned = model.condition_on_observations(X.to(device), Y.to(device))
            fantasies = model.fantasize(X.to(device), sampler())
        results.append([*said(conditioned, test_X), *said(fantasies, test_X)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def acquisitions(model: Any) -> dict[str, tuple[int, Any]]:
    prior = model.space_prior
    torch.manual_seed(0)  # points are pruned by chance
    X, bounds = model.train_inputs[0], prior.space.bounds.to(model.train_targets)
    found = {
        "LogEI": (1, LogExpectedImprovement(model, best_f=4.0)),
        "qLogEI": (2, qLogExpectedImprovement(model, best_f=4.0, sampler=sampler())),
        "qLogNEI": (2, qLogNoisyExpectedImprovement(model, X, sampler=sampler())),
        "qKG": (1, qKnowledgeGradient(model, num_fantasies=2)),
        "MES": (1, qMaxValueEntropy(model, prior.space.sample(50, seed=2).to(bounds))),
        "paths": (1, PathwiseThompsonSampling(model)),
    }
    if isinstance(model, MixturePriorGP):
        found["incumbent"] = (1, LogIncumbentImprovement(model))
        found["objective"] = (
            1,
            LogIncumbentImprovement(model, objective=lambda Y, X: -(Y[..., 0] - 1).abs()),
        )
        found["members"] = (1, LogExpectedImprovement(model.members(8), best_f=4.0))
    return found


@pytest.mark.filterwarnings("ignore:A not p.d., added jitter")
@pytest.mark.parametrize("prior", ["two inputs", "warped outputs"], indirect=True)
def test_acquisition_functions(build: Build, prior: Prior, cuda: torch.device) -> None:
    models = build(cuda), build("cpu")
    for model in models:
        model.space_prior = prior
    here = acquisitions(models[1])
    bounds = prior.space.bounds.to(cuda)
    X = prior.space.sample(8, seed=5)
    for name, (q, acquisition) in acquisitions(models[0]).items():
        if name not in {"qKG", "MES", "paths"}:  # which draw numbers of their own
            some = X.reshape(-1, q, prior.space.dim)
            with torch.no_grad():
                found, expected = acquisition(some.to(cuda)), here[name][1](some)
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4, msg=name)
        with warnings.catch_warnings():  # a line search that ends early
            warnings.filterwarnings("ignore", message="Optimization failed")
            best, value = optimize_acqf(
                acquisition,
                bounds,
                q,
                num_restarts=2,
                raw_samples=8,
                options={"maxiter": 3, "seed": 0},
            )
        assert best.device == bounds.device, name
        assert best.shape == (q, prior.space.dim)
        assert ((best >= bounds[0]) & (best <= bounds[1])).all()
        assert value.isfinite().all(), name


def test_mixed_spaces_by_botorchs_search(mixed_prior: Prior, observe: Observe, cuda) -> None:
    X, Y = (value.to(cuda) for value in observe(mixed_prior, 6))
    best, _ = optimize_acqf_mixed_alternating(
        LogIncumbentImprovement(MixturePriorGP(X, Y, mixed_prior)),
        mixed_prior.space.bounds.to(cuda),
        discrete_dims={1: [float(i) for i in range(1, 7)]},
        cat_dims={2: [0.0, 1.0, 2.0]},
        q=1,
        num_restarts=2,
        raw_samples=8,
        options={"maxiter_alternating": 2, "maxiter_continuous": 3},
    )
    assert best.device == X.device
    mixed_prior.space.check(best)


def test_transforms(prior: Prior, observe: Observe, cuda: torch.device) -> None:
    X, Y = observe(prior, 6)
    models = []
    for device in (cuda, "cpu"):
        unit = Normalize(prior.space.dim, bounds=prior.space.bounds.to(device))
        back = Normalize(prior.space.dim, bounds=prior.space.bounds, reverse=True)  # on the CPU
        inputs, outputs = unit(X.to(device)), (0.3 * Y.to(device)).exp()
        models.append(
            MixturePriorGP(inputs, outputs, prior, input_transform=back, outcome_transform=Log())
        )
    samples = [sampler()(m.posterior(m.train_inputs[0])).cpu() for m in models]
    torch.testing.assert_close(*samples, rtol=1e-6, atol=1e-6)


def test_what_else_a_mixture_can_do(prior: Prior, observe: Observe, cuda: torch.device) -> None:
    X, Y = observe(prior, 6)
    here, there = (MixturePriorGP(X.to(d), Y.to(d), prior) for d in ("cpu", cuda))
    test_X = prior.space.sample(5, seed=1)
    torch.manual_seed(0)
    paths = draw_matheron_paths(there, Size([4]))(test_X.to(cuda))
    assert paths.device == there.train_targets.device
    assert paths.shape == (4, 5)
    assert_same(there.with_fitted_broad(), here.with_fitted_broad(), test_X, 1e-3)
    torch.testing.assert_close(there.leave_one_out().mean.cpu(), here.leave_one_out().mean)
    torch.testing.assert_close(there.log_evidence.cpu(), here.log_evidence)
    posteriors = there.posterior(test_X.to(cuda)), here.posterior(test_X)
    for p in (torch.tensor(0.1), torch.tensor([0.1, 0.9])):
        expected = posteriors[1].quantile(p)
        for level in (p, p.to(cuda)):
            torch.testing.assert_close(posteriors[0].quantile(level).cpu(), expected)
    assert there.posterior(test_X.to(cuda)).rsample(Size([3])).device == paths.device


def test_plain_surrogates_can_be_fitted(build: Build, cuda: torch.device, test_X: Tensor) -> None:
    models = build(cuda), build("cpu")
    for model in models:
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    assert_same(*models, test_X, 1e-2)


def test_an_optimizer_with_what_is_on_a_gpu(prior: Prior, cuda: torch.device) -> None:
    candidates = prior.space.sample(20, seed=4)
    asked = []
    for device in (cuda, torch.device("cpu")):
        optimizer = Optimizer(prior.to(device), candidates=candidates.to(device))
        for _ in range(3):
            x = optimizer.ask()
            optimizer.tell(x, torch.tensor(float(len(optimizer)), device=device))
        anywhere = Optimizer(prior.to(device)).ask()
        asked.append([*optimizer.observations[0].flatten().tolist(), anywhere, optimizer.best()[1]])
    assert asked[0][:-2] == asked[1][:-2]
    prior.space.to_tensor(asked[0][-2])
    assert asked[0][-1] == asked[1][-1]
