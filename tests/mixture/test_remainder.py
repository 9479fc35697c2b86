"""The remainder's kernel and noise, from tasks whose heads come from others."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import multivariate_normal

from metabo.mixture import HeadTasks, Remainder, Trend, fit_remainder, log_likelihood
from metabo.mixture.components import matern52


def remainder(outputscale: float, lengthscale: float, noise: float, inputs: int = 1) -> Remainder:
    lengthscales = torch.full((inputs,), lengthscale).double()
    return Remainder(torch.tensor(outputscale).double(), lengthscales, torch.tensor(noise).double())


def trend(slope: float, lengthscale: float) -> Trend:
    return Trend(torch.tensor(slope).double(), torch.tensor(lengthscale).double())


def sampled(
    truth: Remainder, num_tasks: int, points: int, head_scale: float = 1.0, *, bent: bool = False
) -> HeadTasks:
    """Tasks from a head prior of two features and a given remainder."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = 3**0.5 * (2 * torch.rand(num_tasks, points, 1, generator=generator).double() - 1)
    features = torch.cat([inputs.square() if bent else inputs, torch.ones_like(inputs)], -1)
    mean, root = torch.tensor([0.5, -1.0]).double(), torch.tensor([[0.5, 0.0], [0.2, 0.3]]).double()
    heads = mean + head_scale * normal(num_tasks, 2) @ root.T
    kernel = truth.covariance(inputs, (features @ mean))
    factor = torch.linalg.cholesky(kernel + truth.noise * torch.eye(points))
    targets = features @ heads.unsqueeze(-1) + factor @ normal(num_tasks, points, 1)
    mask = torch.ones(num_tasks, points, dtype=torch.bool)
    return HeadTasks(features, inputs, targets.squeeze(-1), mask, mean, root, trend=mean)


def test_likelihood_is_dense_and_ignores_padding() -> None:
    truth = remainder(0.3, 0.7, 0.05)
    tasks = sampled(truth, 3, 5)
    mask = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    targets = torch.where(mask, tasks.targets, 1e3)
    found = log_likelihood(replace(tasks, mask=mask, targets=targets), truth, head_scale=1.5)
    for t, count in enumerate((5, 2, 1)):
        phi, z = tasks.features[t, :count], tasks.inputs[t, :count]
        head = 1.5 * phi @ tasks.root
        covariance = head @ head.T + truth.outputscale * matern52(z, z, truth.lengthscales)
        covariance += truth.noise * torch.eye(count).double()
        expected = multivariate_normal.logpdf(targets[t, :count], phi @ tasks.mean, covariance)
        assert found[t].item() == pytest.approx(expected, rel=1e-9)


def test_recovers_a_known_kernel_and_noise() -> None:
    truth = remainder(0.4, 0.5, 0.02)
    tasks = sampled(truth, 50, 16, head_scale=2.0)
    found, head_scale = fit_remainder([tasks], remainder(0.1, 1.0, 0.1))
    assert found.outputscale.item() == pytest.approx(0.4, rel=0.3)
    assert found.lengthscales.item() == pytest.approx(0.5, rel=0.3)
    assert found.noise.item() == pytest.approx(0.02, rel=0.3)
    assert head_scale == pytest.approx(2.0, rel=0.25)
    start = remainder(0.1, 1.0, 0.1)
    assert log_likelihood(tasks, found, head_scale).sum() > log_likelihood(tasks, start).sum()
    assert not found.outputscale.requires_grad


def test_recovers_a_size_that_changes_with_the_mean() -> None:
    start = replace(remainder(0.1, 1.0, 0.1), trend=trend(0.0, 10.0))
    for slope in (0.0, -0.6):
        truth = replace(remainder(0.4, 0.5, 0.02), trend=trend(slope, 10.0))
        found, _ = fit_remainder([sampled(truth, 50, 16)], start)
        assert found.trend is not None
        assert found.trend.slope.item() == pytest.approx(slope, abs=0.2)
        assert found.outputscale.item() == pytest.approx(0.4, rel=0.35)
    assert fit_remainder([sampled(truth, 5, 4)], replace(start, trend=None))[0].trend is None


@pytest.mark.parametrize("by_trend", [True, False])
def test_recovers_what_the_remainder_is_a_function_of(by_trend: bool) -> None:
    # Of a mean function that is not monotone in the input, which would be no other input.
    far = 30.0
    truth = remainder(0.4, far if by_trend else 0.5, 0.02)
    truth = replace(truth, trend=trend(0.0, 0.5 if by_trend else far))
    tasks = sampled(truth, 50, 16, bent=True)
    found, _ = fit_remainder([tasks], replace(remainder(0.1, 2.0, 0.1), trend=trend(0.0, 2.0)))
    assert found.trend is not None
    lengths = found.trend.lengthscale.item(), found.lengthscales.item()
    near, other = lengths if by_trend else lengths[::-1]
    assert near == pytest.approx(0.5, rel=0.3)
    assert other > 3 * near


def test_gradients_of_the_likelihood() -> None:
    truth = replace(remainder(0.3, 0.7, 0.05), trend=trend(-0.4, 0.8))
    mask = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    tasks = replace(sampled(truth, 3, 5), mask=mask)

    def likelihood(*values: torch.Tensor) -> torch.Tensor:
        *kernel, slope, lengthscale, mean, root = values
        own = Remainder(*kernel, trend=Trend(slope, lengthscale))
        return log_likelihood(replace(tasks, mean=mean, root=root), own)

    assert truth.trend is not None
    values = (truth.outputscale, truth.lengthscales, truth.noise)
    values += (truth.trend.slope, truth.trend.lengthscale, tasks.mean, tasks.root)
    inputs = tuple(v.clone().requires_grad_() for v in values)
    assert torch.autograd.gradcheck(likelihood, inputs)


def test_several_groups_with_heads_of_their_own() -> None:
    tasks = sampled(remainder(0.4, 0.5, 0.02), 60, 20)
    whole, _ = fit_remainder([tasks], remainder(0.1, 1.0, 0.1), steps=30)
    tensors = ("features", "inputs", "targets", "mask")
    halves = [
        replace(tasks, **{name: getattr(tasks, name)[part] for name in tensors})
        for part in (slice(0, 30), slice(30, 60))
    ]
    parts, _ = fit_remainder(halves, remainder(0.1, 1.0, 0.1), steps=30)
    torch.testing.assert_close(parts.outputscale, whole.outputscale)
    torch.testing.assert_close(parts.noise, whole.noise)


def test_constant_outputs_leave_finite_values() -> None:
    tasks = sampled(remainder(0.4, 0.5, 0.02), 4, 6)
    found, head_scale = fit_remainder(
        [replace(tasks, targets=torch.zeros_like(tasks.targets))], remainder(0.1, 1.0, 0.1)
    )
    assert found.noise.item() > 0
    assert torch.tensor(head_scale).isfinite()
    assert found.outputscale.isfinite()
