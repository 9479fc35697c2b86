"""BoTorch's acquisition functions on the mixture, and what `optimize_acqf` makes of them."""

import warnings
from collections.abc import Callable

import pytest
import torch
from botorch.acquisition import (
    AcquisitionFunction,
    LogExpectedImprovement,
    qKnowledgeGradient,
    qLogExpectedImprovement,
    qLogNoisyExpectedImprovement,
    qMaxValueEntropy,
    qUpperConfidenceBound,
)
from botorch.acquisition.joint_entropy_search import qJointEntropySearch
from botorch.acquisition.max_value_entropy_search import qLowerBoundMaxValueEntropy
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.generation.sampling import MaxPosteriorSampling
from botorch.models import ModelListGP
from botorch.models.model import ModelList
from botorch.optim import optimize_acqf
from botorch.sampling import SobolQMCNormalSampler
from torch import Size, Tensor

from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP

Observe = Callable[..., tuple[Tensor, Tensor]]
SAMPLER = SobolQMCNormalSampler(Size([32]), seed=0)


@pytest.fixture(params=[0, 4])
def model(request: pytest.FixtureRequest, prior: Prior, observe: Observe) -> MixturePriorGP:
    return MixturePriorGP(*observe(prior, request.param), prior)


def candidates(model: MixturePriorGP, count: int = 200) -> Tensor:
    return model.prior.space.sample(count, seed=11)


def optima(model: MixturePriorGP) -> tuple[Tensor, Tensor]:
    """Optimal inputs and outputs of sampled functions, over a grid."""
    X = candidates(model)
    values = model.posterior(X).rsample(Size([8])).squeeze(-1)
    best = values.max(-1)
    return X[best.indices], best.values.unsqueeze(-1)


ACQUISITIONS: dict[str, tuple[int, Callable[[MixturePriorGP], AcquisitionFunction]]] = {
    "LogEI": (1, lambda m: LogExpectedImprovement(m, best_f=4.0)),
    "LogEI on members": (1, lambda m: LogExpectedImprovement(m.members(), best_f=4.0)),
    "qLogEI": (2, lambda m: qLogExpectedImprovement(m, best_f=4.0, sampler=SAMPLER)),
    "qLogEI on members": (
        2,
        lambda m: qLogExpectedImprovement(m.members(8), best_f=4.0, sampler=SAMPLER),
    ),
    "qUCB": (2, lambda m: qUpperConfidenceBound(m, beta=2.0, sampler=SAMPLER)),
    "qKG": (1, lambda m: qKnowledgeGradient(m, num_fantasies=2)),
    "qMES": (1, lambda m: qMaxValueEntropy(m, candidates(m), num_y_samples=16)),
    "GIBBON": (2, lambda m: qLowerBoundMaxValueEntropy(m, candidates(m))),
    "JES": (1, lambda m: qJointEntropySearch(m, *optima(m))),
}


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_optimize_acqf_finds_a_better_point(model: MixturePriorGP, name: str) -> None:
    q, make = ACQUISITIONS[name]
    torch.manual_seed(0)
    acquisition = make(model)
    before = model.prior.network.layers[0].detach().clone()
    with warnings.catch_warnings():
        # What BoTorch itself warns of, with any model: a line search that ends early.
        warnings.filterwarnings("ignore", message="Optimization failed")
        X, value = optimize_acqf(
            acquisition,
            bounds=model.prior.space.bounds,
            q=q,
            num_restarts=2,
            raw_samples=16,
            sequential=name == "GIBBON",
            options={"maxiter": 10, "seed": 0},
        )
    assert X.shape == (q, 2)
    model.prior.space.check(X)
    assert value.isfinite().all()
    assert torch.equal(before, model.prior.network.layers[0])
    if name not in {"qKG", "GIBBON"}:  # these value other points at the same time
        random = acquisition(model.prior.space.sample(10 * q, seed=3).reshape(10, q, 2))
        assert float(value) >= float(random.mean())


def test_noisy_expected_improvement_prunes_the_baseline(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 8)
    model = MixturePriorGP(X, Y, prior)
    acquisition = qLogNoisyExpectedImprovement(model, X, sampler=SAMPLER, prune_baseline=True)
    assert 0 < len(acquisition.X_baseline) < 8
    best, value = optimize_acqf(
        acquisition,
        prior.space.bounds,
        q=2,
        num_restarts=2,
        raw_samples=16,
        options={"maxiter": 10, "seed": 0},
    )
    assert best.shape == (2, 2)
    assert value.isfinite()


@pytest.mark.parametrize("kind", [ModelList, ModelListGP])
def test_several_outputs(prior: Prior, observe: Observe, kind: type[ModelList]) -> None:
    X, Y = observe(prior, 6)
    model = kind(MixturePriorGP(X, Y, prior), MixturePriorGP(X, -Y, prior))
    torch.manual_seed(0)
    acquisition = qLogNoisyExpectedHypervolumeImprovement(
        model, torch.tensor([0.0, -8.0]).double(), X, prune_baseline=True
    )
    best, value = optimize_acqf(
        acquisition,
        prior.space.bounds,
        q=2,
        num_restarts=1,
        raw_samples=4,
        options={"maxiter": 3, "seed": 0},
    )
    assert best.shape == (2, 2)
    assert value.isfinite()


def test_thompson_sampling_prefers_the_optimum(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 12), prior)
    X = candidates(model)
    torch.manual_seed(0)
    chosen = MaxPosteriorSampling(model, replacement=True)(X, num_samples=64)
    assert chosen.shape == (64, 2)
    mean = model.posterior(chosen).mean.mean()
    assert float(mean) > float(model.posterior(X).mean.mean())
    assert len(chosen.unique(dim=0)) > 1


def test_acquisition_values_are_those_of_points_one_by_one(model: MixturePriorGP) -> None:
    X = model.prior.space.sample(12, seed=2).reshape(6, 2, 2)
    for _, make in (ACQUISITIONS[name] for name in ("qLogEI", "qUCB")):
        acquisition = make(model)
        together = acquisition(X)
        torch.testing.assert_close(together[4:5], acquisition(X[4:5]))


def test_gradients_of_acquisition_values(prior: Prior, observe: Observe) -> None:
    model = MixturePriorGP(*observe(prior, 4), prior)
    X = prior.space.sample(6, seed=2).reshape(3, 2, 2).requires_grad_()
    for name in ("qLogEI", "qUCB"):
        acquisition = ACQUISITIONS[name][1](model)
        assert torch.autograd.gradcheck(acquisition, (X,), atol=1e-4, rtol=1e-3)
    single = X[:, :1].detach().requires_grad_()
    for name in ("LogEI", "LogEI on members"):
        acquisition = ACQUISITIONS[name][1](model)
        assert torch.autograd.gradcheck(acquisition, (single,), atol=1e-4, rtol=1e-3)
