"""The posterior of a mixture, against dense algebra, GPyTorch and brute force."""

from collections.abc import Callable

import gpytorch
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from metabo.mixture import ConditionedMixture, Mixture, condition
from metabo.prior import Prior

Observe = Callable[..., tuple[Tensor, Tensor]]


class LinearPlusMatern(gpytorch.models.ExactGP):
    """Mean `phi m`, kernel `phi R R' phi' + s^2 Matern`, as GPyTorch writes it; x is (phi, z)."""

    def __init__(self, X: Tensor, y: Tensor, mixture: Mixture, k: int = 0) -> None:
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        likelihood.noise = mixture.noises[k]
        super().__init__(X, y, likelihood)
        self.head, self.root = mixture.means[k], mixture.roots[k]
        self.width, self.amplitude = len(self.head), mixture.amplitudes[k]
        self.trend = mixture.trends[k]
        self.linear = gpytorch.kernels.LinearKernel().double()
        self.linear.variance = 1.0
        matern = gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=X.shape[-1] - self.width + 1)
        self.matern = gpytorch.kernels.ScaleKernel(matern).double()
        lengthscales = torch.nn.functional.pad(mixture.lengthscales[k], (0, 1), value=1.0)
        self.matern.base_kernel.lengthscale = lengthscales
        self.matern.outputscale = mixture.outputscales[k]

    def forward(self, X: Tensor) -> gpytorch.distributions.MultivariateNormal:
        phi, z = X[..., : self.width], X[..., self.width :]
        z = torch.cat([z, phi @ self.trend.unsqueeze(-1)], -1)
        size = (phi @ self.amplitude).exp()
        remainder = size.unsqueeze(-1) * self.matern(z).to_dense() * size.unsqueeze(-2)
        covariance = self.linear(phi @ self.root).to_dense() + remainder
        return gpytorch.distributions.MultivariateNormal(phi @ self.head, covariance)


def conditioned(prior: Prior, X: Tensor, Y: Tensor, **noise: Tensor) -> ConditionedMixture:
    return condition(prior.mixture, *prior.encode(X), Y.squeeze(-1), **noise)


@pytest.mark.parametrize("n", [1, 4, 12])
def test_one_component_is_a_plain_exact_gp(
    make_prior: Callable[..., Prior], observe: Observe, n: int
) -> None:
    prior = make_prior(num_components=1, offset=0.0, scale=1.0, amplitude=0.3, trend=0.5)
    X, Y = observe(prior, n)
    test_X = prior.space.sample(6, seed=9)
    ours = conditioned(prior, X, Y)
    prediction = ours.predict(*prior.encode(test_X))
    both, test = torch.cat(prior.encode(X), -1), torch.cat(prior.encode(test_X), -1)
    model = LinearPlusMatern(both, Y.squeeze(-1), prior.mixture)
    evidence = gpytorch.ExactMarginalLogLikelihood(model.likelihood, model)
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        model.train()
        torch.testing.assert_close(ours.log_evidence, n * evidence(model(both), Y.squeeze(-1)))
        model.eval()
        theirs = model(test)
    torch.testing.assert_close(prediction.means[0], theirs.mean, rtol=1e-8, atol=1e-8)
    covariance = theirs.covariance_matrix
    torch.testing.assert_close(prediction.covariance()[0], covariance, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(prediction.variances[0], theirs.variance, rtol=1e-7, atol=1e-8)


def test_weights_and_evidence_by_brute_force(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 6)
    Y = (Y - prior.output_offset) / prior.output_scale
    ours, mixture = conditioned(prior, X, Y), prior.mixture
    points = prior.encode(X)
    means, covariances = mixture.mean(points[0]), mixture.covariance(points, points)
    densities = torch.tensor(
        [
            multivariate_normal.pdf(
                Y.squeeze(-1), means[k], covariances[k] + mixture.noises[k] * torch.eye(6)
            )
            for k in range(mixture.num_components)
        ]
    )
    joint = mixture.log_weights.exp() * densities
    torch.testing.assert_close(ours.log_weights.exp(), joint / joint.sum())
    torch.testing.assert_close(ours.log_evidence, joint.sum().log())


def test_no_observations_leave_the_prior(prior: Prior) -> None:
    X = prior.space.sample(5, seed=0)
    points, mixture = prior.encode(X), prior.mixture
    ours = conditioned(prior, X[:0], X[:0, :1])
    torch.testing.assert_close(ours.log_weights, mixture.log_weights)
    assert ours.log_evidence == pytest.approx(0.0, abs=1e-12)
    prediction = ours.predict(*points)
    torch.testing.assert_close(prediction.means, mixture.mean(points[0]))
    torch.testing.assert_close(prediction.covariance(), mixture.covariance(points, points))


def test_known_noise_and_learned_noise_side_by_side(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 4)
    noise = torch.tensor([0.3, torch.nan, 0.1, torch.nan], dtype=torch.float64)
    ours, mixture = conditioned(prior, X, Y, noise=noise), prior.mixture
    points = prior.encode(X)
    covariance = mixture.covariance(points, points)[2]
    covariance += torch.diag(torch.where(noise.isnan(), mixture.noises[2], noise))
    factor = torch.linalg.cholesky(covariance)
    torch.testing.assert_close(ours.factor[2], factor)
    everywhere = conditioned(prior, X, Y, noise=mixture.noises[:1].expand(4))
    torch.testing.assert_close(everywhere.factor[0], conditioned(prior, X, Y).factor[0])


def test_tasks_in_a_batch_are_conditioned_one_by_one(prior: Prior, observe: Observe) -> None:
    tasks = [observe(prior, 5, seed=seed) for seed in range(3)]
    X, Y = (torch.stack(values) for values in zip(*tasks, strict=True))
    together, test_X = conditioned(prior, X, Y), prior.space.sample(4, seed=7)
    predictions = together.predict(*prior.encode(test_X))
    for t in range(3):
        alone = conditioned(prior, X[t], Y[t])
        torch.testing.assert_close(together.log_weights[t], alone.log_weights)
        torch.testing.assert_close(together.log_evidence[t], alone.log_evidence)
        expected = alone.predict(*prior.encode(test_X))
        torch.testing.assert_close(predictions.means[t], expected.means)
        torch.testing.assert_close(predictions.covariance()[t], expected.covariance())


def test_points_side_by_side_are_predicted_as_one_by_one(prior: Prior, observe: Observe) -> None:
    ours = conditioned(prior, *observe(prior, 5))
    X = prior.space.sample(24, seed=1).reshape(4, 3, 2, 2)
    together = ours.predict(*prior.encode(X))
    assert together.means.shape == (4, 3, 24, 2)
    alone = ours.predict(*prior.encode(X[2, 1]))
    torch.testing.assert_close(together.means[2, 1], alone.means)
    torch.testing.assert_close(together.variances[2, 1], alone.variances)
    torch.testing.assert_close(together.covariance()[2, 1], alone.covariance())
    some = together.covariance(slice(1, 2))
    torch.testing.assert_close(some, together.covariance()[..., 1:2, :])


def test_leave_one_out_is_leaving_one_out(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 6)
    log_weights, marginals = conditioned(prior, X, Y).leave_one_out()
    assert log_weights.shape == (6, 24)
    assert marginals.means.shape == marginals.variances.shape == (6, 24, 1)
    for i in range(6):
        rest = torch.arange(6) != i
        alone = conditioned(prior, X[rest], Y[rest])
        expected = alone.predict(*prior.encode(X[i : i + 1]))
        torch.testing.assert_close(log_weights[i], alone.log_weights)
        torch.testing.assert_close(marginals.means[i], expected.means)
        variances = expected.variances + prior.mixture.noises[:, None]
        torch.testing.assert_close(marginals.variances[i], variances)


def test_likely_keeps_what_counts(prior: Prior, observe: Observe) -> None:
    ours = conditioned(prior, *observe(prior, 8))
    kept = ours.likely(1e-3)
    assert kept.mixture.num_components == int((ours.log_weights.exp() > 1e-3).sum()) < 16
    torch.testing.assert_close(kept.log_weights.exp().sum(), torch.ones(()).double())
    assert kept.log_evidence == ours.log_evidence
    assert ours.likely(0.5 * float(ours.log_weights.exp().min())) is ours


def test_the_least_jitter_is_added_to_a_singular_covariance(prior: Prior) -> None:
    X = prior.space.sample(1, seed=0).expand(6, -1)
    noiseless = conditioned(prior, X, torch.zeros(6, 1).double(), noise=torch.zeros(6).double())
    assert 0 < noiseless.jitter <= 1e-8
    assert conditioned(prior, X, torch.zeros(6, 1).double()).jitter == 0
    assert noiseless.log_evidence.isfinite()


def test_values_that_are_not_finite_are_named(prior: Prior) -> None:
    X = torch.full((2, 2), torch.nan, dtype=torch.float64)
    with pytest.raises(ArithmeticError, match="not finite"):
        conditioned(prior, X, torch.zeros(2, 1).double())
