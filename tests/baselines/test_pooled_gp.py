"""The pooled Gaussian process against GPyTorch."""

from __future__ import annotations

import gpytorch
import pytest
import torch
from gpytorch.kernels import MaternKernel
from torch import Tensor
from torch.distributions import MultivariateNormal

from metabo.baselines.pooled_gp import PooledGP, matern
from metabo.tasks.task import TaskBatch


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def process() -> PooledGP:
    process = PooledGP(3, (), torch.Generator().manual_seed(0))
    with torch.no_grad():
        process.mean.fill_(0.7)
        process.log_lengthscales.copy_(torch.tensor([0.5, 1.0, 2.0]).log())
        process.log_outputscale.fill_(0.4)
        process.log_noise.fill_(-2.0)
    return process


def test_the_kernel_is_gpytorchs() -> None:
    A, B = normal(4, 3, seed=0), normal(5, 3, seed=1)
    kernel = MaternKernel(nu=2.5).double()
    kernel.lengthscale = 1.0
    torch.testing.assert_close(matern(A, B), kernel(A, B).to_dense(), rtol=0, atol=1e-6)


def test_the_loss_leaves_padding_out(process: PooledGP) -> None:
    X, Y, counts = normal(2, 5, 3, seed=2), normal(2, 5, seed=3), torch.tensor([5, 3])
    tasks = TaskBatch(X, Y, counts)
    total = 0.0
    with torch.no_grad():
        for x, y, n in zip(X, Y, counts, strict=True):
            covariance = process.covariance(x[:n], x[:n]) + process.noise * torch.eye(int(n))
            mean = process.mean.expand(int(n))
            total -= float(MultivariateNormal(mean, covariance).log_prob(y[:n]))
        assert float(process.loss(X, Y, tasks.mask)) == pytest.approx(total / 8)


def test_the_posterior_is_gpytorchs(process: PooledGP) -> None:
    X, Y, query = normal(6, 3, seed=4), normal(6, seed=5), normal(7, 3, seed=6)

    class Exact(gpytorch.models.ExactGP):
        def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
            mean = process.mean.detach().expand(len(x))
            return gpytorch.distributions.MultivariateNormal(
                mean, process.covariance(x, x).detach()
            )

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = process.noise.detach()
    with torch.no_grad():
        expected = Exact(X, Y, likelihood).eval()(query)
        found = process.posterior(X, Y, query)
        nothing = process.posterior(X[:0], Y[:0], query)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.variance, expected.variance, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(nothing.mean, torch.full_like(nothing.mean, 0.7))
    assert float(nothing.variance[0].log()) == pytest.approx(0.4, abs=1e-5)


def test_fitting_finds_the_hyperparameters_of_many_tasks(process: PooledGP) -> None:
    X = normal(40, 30, 3, seed=7)
    with torch.no_grad():
        covariance = process.covariance(X, X) + process.noise * torch.eye(30)
        root = torch.linalg.cholesky(covariance)
        Y = process.mean + (root @ normal(40, 30, 1, seed=8)).squeeze(-1)
    tasks = TaskBatch(X, Y, torch.full((40,), 30))
    fitted = PooledGP(3, (), torch.Generator())
    losses = fitted.fit(lambda: tasks, steps=100, step_size=0.1)
    assert losses[-1] < losses[0]
    ratio = (fitted.log_lengthscales - process.log_lengthscales).exp().detach()
    assert ratio.min() > 0.7
    assert ratio.max() < 1.4
    assert fitted.log_noise.item() == pytest.approx(-2.0, abs=0.4)
    assert fitted.mean.item() == pytest.approx(0.7, abs=0.3)


def test_the_mean_may_be_a_network() -> None:
    process = PooledGP(1, (), torch.Generator().manual_seed(0), mean_hidden=(16,))
    X = torch.linspace(-2, 2, 20, dtype=torch.float64).expand(8, -1).unsqueeze(-1)
    with torch.no_grad():
        assert not torch.allclose(process.mean_at(X[0]), process.mean)
    Y = 3 * X.squeeze(-1).sin() + 0.1 * normal(8, 20, seed=3)
    process.fit(lambda: TaskBatch(X, Y, torch.full((8,), 20)), steps=300, step_size=0.03)
    with torch.no_grad():
        prior = process.posterior(X[0, :0], Y[0, :0], X[0])
        given = process.posterior(X[0, :3], Y[0, :3] + 1, X[0])
    assert (prior.mean - 3 * X[0, :, 0].sin()).abs().mean() < 0.3
    assert (given.mean - prior.mean)[:3].mean() > 0.5 * (given.mean - prior.mean)[-3:].mean()


def test_the_network_comes_from_its_generator() -> None:
    first, second, third = (
        PooledGP(2, (8, 4), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    X = normal(5, 2, seed=9)
    assert first.network(X).shape == (5, 4)
    torch.testing.assert_close(first.network(X), second.network(X), rtol=0, atol=0)
    assert not torch.equal(first.network(X), third.network(X))


def test_a_copy_is_fitted_alone(process: PooledGP) -> None:
    before = process.log_lengthscales.clone()
    task = TaskBatch(normal(1, 4, 3, seed=1), normal(1, 4, seed=2), torch.tensor([4]))
    other = process.copy()
    other.fit(lambda: task, steps=3, step_size=0.1)
    assert torch.equal(process.log_lengthscales, before)
    assert not torch.equal(other.log_lengthscales, before)
