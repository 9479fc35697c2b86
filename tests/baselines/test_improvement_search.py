"""Expected improvement over candidates against integrals of the normal distribution."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Normal

from metabo.baselines.improvement_search import ImprovementSearch, marginals
from metabo.baselines.vanilla_gp import vanilla_gp
from metabo.space import InputSpace

LINE = InputSpace.from_bounds((0, 9))
GRID = torch.arange(10, dtype=torch.float64).unsqueeze(-1)
MEAN = torch.tensor([0.0, 1, 2, 3, 2, 1, 0, -1, -2, -3], dtype=torch.float64)
SD = torch.tensor([1.0, 1, 1, 1, 1, 2, 3, 4, 5, 0.5], dtype=torch.float64)


class Known(ImprovementSearch):
    """Whatever is told, each candidate has the same distribution."""

    def predict(self, indices: Tensor) -> Normal:
        return Normal(MEAN[indices], SD[indices])


def expected(function: object, i: int) -> float:
    distribution = stats.norm(float(MEAN[i]), float(SD[i]))
    # Wide and fine enough for functions with kinks.
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64) * SD[i] + MEAN[i]
    density = torch.from_numpy(distribution.pdf(x.numpy()))
    return float(torch.trapezoid(function(x) * density, x))  # type: ignore[operator]


def test_it_is_the_expected_improvement_over_the_best_answer() -> None:
    search = Known(LINE, GRID)
    search.tell({"x": 4.0}, 1.5)
    search.tell({"x": 0.0}, -3.0)
    found = search.scores(torch.arange(10)).exp()
    for i in range(10):
        improvement = expected(lambda f: (f - 1.5).clamp_min(0), i)
        assert float(found[i]) == pytest.approx(improvement, rel=1e-3, abs=1e-12)


def test_with_an_objective_draws_are_close_to_the_integral() -> None:
    def to_level(Y: Tensor, X: Tensor) -> Tensor:
        return -(Y[..., 0] - 1.0).abs() + 0.1 * X[..., 0]

    search = Known(LINE, GRID, objective=to_level)
    first = search.scores(torch.arange(10))
    for i in range(10):
        value = expected(lambda f, i=i: -(f - 1).abs() + 0.1 * i, i)
        assert float(first[i]) == pytest.approx(value, abs=0.05)
    search.tell({"x": 4.0}, 1.5)
    search.tell({"x": 0.0}, -3.0)
    best = max(expected(lambda f, i=i: -(f - 1).abs() + 0.1 * i, i) for i in (4, 0))
    found = search.scores(torch.tensor([2, 5, 9]))
    for score, i in zip(found.tolist(), (2, 5, 9), strict=True):
        gain = expected(lambda f, i=i: (-(f - 1).abs() + 0.1 * i - best).clamp_min(0), i)
        assert score == pytest.approx(gain, abs=0.04)


def test_before_the_first_answer_the_best_mean_is_proposed() -> None:
    assert Known(LINE, GRID).ask() == {"x": 3.0}


def test_it_knows_which_candidates_were_measured() -> None:
    search = Known(LINE, GRID)
    for x in (7.0, 2.0, 4.3):
        search.tell({"x": x}, 0.0)
    assert search.measured.tolist() == [7, 2, 4]


def test_marginals_are_the_diagonal_of_the_joint_posterior() -> None:
    model = vanilla_gp(GRID[::3], GRID[::3].sin(), LINE)
    with torch.no_grad():
        joint = model.posterior(GRID)
        found = marginals(model, GRID)
    torch.testing.assert_close(found.mean, joint.mean[:, 0])
    torch.testing.assert_close(found.variance, joint.variance[:, 0], rtol=1e-4, atol=1e-8)
