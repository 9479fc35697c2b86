"""Broad components: the grid, and the one that is fitted to a task."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from metabo.mixture import broad_components, condition, fit_broad


def test_broad_components_are_stationary_and_cover_the_grid() -> None:
    broad = broad_components(4, 2, 0.01, outputscales=(0.5, 2.0))
    assert broad.num_components == 8
    assert bool(broad.is_broad.all())
    torch.testing.assert_close(broad.log_weights.exp().sum(), torch.ones(()).double())
    features = torch.tensor([[9.0, -9.0, 5.0, 1.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = (1 + 2 * broad.outputscales)[:, None].expand(-1, 2)
    torch.testing.assert_close(broad.variance(features), expected)
    assert not broad.mean(features).any()
    assert broad.lengthscales[0, 0].item() == pytest.approx(0.25 * 2**0.5)


def wave(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, inputs and values of a function that varies along its first input only."""
    generator = torch.Generator().manual_seed(0)
    inputs = 3.4 * torch.rand(count, 2, generator=generator, dtype=torch.float64) - 1.7
    features = torch.cat([inputs, torch.ones(count, 1, dtype=torch.float64)], -1)
    return features, inputs, torch.sin(3 * inputs[:, 0])


class TestFitBroad:
    def test_finds_what_the_task_says(self) -> None:
        features, inputs, targets = wave(30)
        fitted = fit_broad(features, inputs, targets, None)
        grid = broad_components(3, 2, 1e-4)
        assert fitted.lengthscales[0, 1] > 3 * fitted.lengthscales[0, 0]
        assert fitted.noises.item() < 1e-3
        better = condition(fitted, features, inputs, targets).log_evidence
        assert better > condition(grid, features, inputs, targets).log_evidence

    @pytest.mark.parametrize(("scale", "offset"), [(1e-4, 0.0), (1.0, -7.0), (1e5, 1e6)])
    def test_units_do_not_matter(self, scale: float, offset: float) -> None:
        features, inputs, targets = wave(12)
        plain = fit_broad(features, inputs, targets, None)
        other = fit_broad(features, inputs, offset + scale * targets, None)
        close = {"rtol": 0.02, "atol": 1e-9}
        torch.testing.assert_close(other.lengthscales, plain.lengthscales, **close)
        torch.testing.assert_close(other.outputscales / scale**2, plain.outputscales, **close)
        torch.testing.assert_close((other.means - offset)[:, -1] / scale, plain.means[:, -1])

    def test_needs_no_gradients_around_it(self) -> None:
        features, inputs, targets = wave(12)
        with torch.no_grad():
            fitted = fit_broad(features, inputs, targets, None)
        assert torch.equal(
            fitted.lengthscales, fit_broad(features, inputs, targets, None).lengthscales
        )

    def test_known_noise_is_not_learned(self) -> None:
        features, inputs, targets = wave(20)
        noisy = targets + 0.3 * torch.randn(20, generator=torch.Generator().manual_seed(1))
        known = torch.full((20,), 0.09, dtype=torch.float64)
        smooth = fit_broad(features, inputs, noisy, known)
        rough = fit_broad(features, inputs, noisy, torch.full_like(known, 1e-8))
        assert smooth.lengthscales[0, 0] > rough.lengthscales[0, 0]

    def test_a_part_of_very_many_observations_is_enough(self) -> None:
        features, inputs, targets = wave(4000)
        noise = 0.3 * torch.randn(4000, generator=torch.Generator().manual_seed(1))
        started = time.process_time()
        fitted = fit_broad(features, inputs, targets + noise, None)
        assert time.process_time() - started < 30  # of all, it would be minutes
        assert fitted.noises.item() == pytest.approx(0.09, rel=0.2)
        assert fitted.lengthscales[0, 1] > 3 * fitted.lengthscales[0, 0]

    @pytest.mark.parametrize("value", [0.0, 5.0])
    def test_constant_targets(self, value: float) -> None:
        features, inputs, _ = wave(4)
        fitted = fit_broad(features, inputs, torch.full((4,), value, dtype=torch.float64), None)
        assert all(bool(t.isfinite().all()) for t in fitted.tensors().values())
