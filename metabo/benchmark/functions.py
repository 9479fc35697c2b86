r"""Logistic curves and surfaces as BoTorch test functions, with their optima in closed form.

All are to be maximised. Each is an objective on top of a logistic response
:math:`L \sigma(k (w \cdot x - b))`, so it can be optimised as it is (`function(X)`) or as a
composite function, where the response is what is measured and modelled:
`function.objective(function.response(X), X)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from botorch.test_functions import SyntheticTestFunction
from torch import Tensor

from metabo.benchmark.problems import NetBenefit, Target
from metabo.objective import Objective
from metabo.tasks import FunctionFamily

Bounds = Sequence[tuple[float, float]]


class Logistic(SyntheticTestFunction):
    r"""The curve itself, :math:`L \sigma(k (x - x_0))`: best at the upper bound, whatever it is.

    Args:
        L: The upper asymptote; positive.
        k: The steepness; positive.
        x0: The midpoint.
        bounds: Of the one input.
        noise_std: Of the observations.
        negate: As for all of BoTorch's functions.
    """

    dim = 1
    _is_minimization_by_default = False
    _check_grad_at_opt = False

    def __init__(
        self,
        L: float = 5.0,
        k: float = 3.0,
        x0: float = 0.0,
        *,
        bounds: Bounds = ((-4.0, 4.0),),
        noise_std: float | None = None,
        negate: bool = False,
    ) -> None:
        if L <= 0 or k <= 0:
            raise ValueError(f"L is {L} and k is {k}; both must be positive")
        self.L, self.k, self.x0 = float(L), float(k), float(x0)
        self._bounds, self.continuous_inds = list(bounds), [0]
        best, self._check_grad_at_opt = self._best(*self._bounds[0])
        self._optimizers = [(best,)]
        self._optimal_value = self._float_value(best)
        super().__init__(noise_std=noise_std, negate=negate)

    @property
    def objective(self) -> Objective | None:
        """What is maximised on top of the response; None: the response itself."""
        return None

    def response(self, X: Tensor) -> Tensor:
        """What is measured, `... x 1`, at points `... x 1`."""
        return self.L * torch.sigmoid(self.k * (X - self.x0))

    def _evaluate_true(self, X: Tensor) -> Tensor:
        return _composed(self.response(X), X, self.objective)

    def _best(self, low: float, high: float) -> tuple[float, bool]:
        """The optimum, and whether it is a smooth one inside the bounds."""
        return high, False

    def _float_value(self, x: float) -> float:
        X = torch.tensor([x], dtype=torch.float64)
        return float(_composed(Logistic.response(self, X), X, self.objective))


class LogisticTarget(Logistic):
    """How near the response is to a wanted level: best where it reaches it, or at a bound.

    Args:
        level: What the response is to be.
        **curve: As for `Logistic`.
    """

    def __init__(self, *, level: float = 0.7, **curve: Any) -> None:
        self.level = float(level)
        super().__init__(**curve)

    @property
    def objective(self) -> Objective:
        """The negative distance."""
        return Target(self.level)

    def _best(self, low: float, high: float) -> tuple[float, bool]:
        if self.level <= 0 or self.level >= self.L:
            return (low if self.level <= 0 else high), False
        x = self.x0 + math.log(self.level / (self.L - self.level)) / self.k
        return min(max(x, low), high), False  # the distance has a kink


class LogisticNetBenefit(Logistic):
    """The response minus what the input costs, `f(x) - cost (x - low)`.

    Args:
        cost: Of a unit of x; positive.
        **curve: As for `Logistic`.
    """

    def __init__(self, *, cost: float = 0.8, **curve: Any) -> None:
        self.cost = float(cost)
        super().__init__(**curve)

    @property
    def objective(self) -> Objective:
        """The benefit, counted from the lower bound."""
        return NetBenefit(self.cost, self._bounds[0][0])

    def _best(self, low: float, high: float) -> tuple[float, bool]:
        (x,) = _best_of_surface(self.L, self.k, self.x0, (1.0,), self.cost, ((low, high),))
        return x, low < x < high


class LogisticSlope(Logistic):
    r"""How steep the curve is, :math:`L k \sigma (1 - \sigma)`: best at `x0`, or at a bound.

    The slope is what is measured: it is no function of the response at x alone.
    """

    def response(self, X: Tensor) -> Tensor:
        """The slope, `... x 1`, at points `... x 1`."""
        return slope(X, self.L, self.k, self.x0)

    def _best(self, low: float, high: float) -> tuple[float, bool]:
        return min(max(self.x0, low), high), low < self.x0 < high

    def _float_value(self, x: float) -> float:
        return float(self.response(torch.tensor([x], dtype=torch.float64)))


class LogisticSurface(SyntheticTestFunction):
    r"""A response of d inputs minus their cost, :math:`L \sigma(k (w \cdot x - b)) - c \sum_i x_i`.

    The cost is counted from the lower bounds. Inputs with the largest weights are the first to be
    worth it, so the optimum is where the response still grows by as much as the next one costs.

    Args:
        weights: w, one for each input.
        L: As for `Logistic`.
        k: As for `Logistic`.
        b: Where along w the response is half of L.
        cost: c, of a unit of any input; positive.
        bounds: Of each input; default -1 to 1.
        noise_std: Of the observations.
        negate: As for all of BoTorch's functions.
    """

    _is_minimization_by_default = False

    def __init__(
        self,
        weights: Sequence[float],
        *,
        L: float = 5.0,
        k: float = 4.0,
        b: float = 0.0,
        cost: float = 1.0,
        bounds: Bounds | None = None,
        noise_std: float | None = None,
        negate: bool = False,
    ) -> None:
        self.dim = len(weights)
        self.continuous_inds = list(range(self.dim))
        self._bounds = list(bounds or [(-1.0, 1.0)] * self.dim)
        self.L, self.k, self.b, self.cost = float(L), float(k), float(b), float(cost)
        self.weights = tuple(float(w) for w in weights)
        best = _best_of_surface(self.L, self.k, self.b, self.weights, self.cost, self._bounds)
        inside = [low < x < high for x, (low, high) in zip(best, self._bounds, strict=True)]
        self._optimizers, self._check_grad_at_opt = [best], all(inside)
        X = torch.tensor(best, dtype=torch.float64)
        self._optimal_value = float(_composed(self.response(X), X, self.objective))
        super().__init__(noise_std=noise_std, negate=negate)

    @property
    def objective(self) -> Objective:
        """The response minus the cost of all inputs."""
        return NetBenefit(self.cost, tuple(low for low, _ in self._bounds))

    def response(self, X: Tensor) -> Tensor:
        """What is measured, `... x 1`, at points `... x d`."""
        along = X @ torch.tensor(self.weights).to(X)
        return (self.L * torch.sigmoid(self.k * (along - self.b))).unsqueeze(-1)

    def _evaluate_true(self, X: Tensor) -> Tensor:
        return _composed(self.response(X), X, self.objective)


def slope(X: Tensor, L: Any, k: Any, x0: Any) -> Tensor:
    """The derivative of the logistic curve, `n x 1 -> n x 1`."""
    share = torch.sigmoid(k * (X - x0))
    return L * k * share * (1 - share)


def surface_family(bounds: Tensor, *, noise_sd: float = 0.05) -> FunctionFamily:
    """Responses of logistic surfaces in every direction, inputs scaled to [-1, 1]; bounds `2 x d`.

    The weights are `w0`, `w1`, ..., of which only the direction counts.
    """
    low, high = bounds
    names = [f"w{i}" for i in range(len(low))]

    def surface(X: Tensor, L: Tensor, k: Tensor, b: Tensor, **weights: Tensor) -> Tensor:
        ends = torch.stack([low, high]).to(X)
        x, w = 2 * (X - ends[0]) / (ends[1] - ends[0]) - 1, torch.stack([weights[n] for n in names])
        return L * torch.sigmoid(k * (x @ w / w.norm().clamp_min(1e-3) - b))

    ranges = {"L": (1.0, 10.0), "k": (1.0, 10.0), "b": (-0.5, 0.5)}
    return FunctionFamily(
        surface, ranges | dict.fromkeys(names, (-1.0, 1.0)), bounds, noise_sd=noise_sd
    )


def _composed(response: Tensor, X: Tensor, objective: Objective | None) -> Tensor:
    return response[..., 0] if objective is None else objective(response, X)


def _best_of_surface(
    L: float, k: float, b: float, weights: Sequence[float], cost: float, bounds: Bounds
) -> tuple[float, ...]:
    """Where a logistic response is largest after the cost of its inputs, counted from below.

    To get along w as cheaply as possible, raise one input after the other, those of large weight
    first. While one is being raised, the best place is the upper of the two where the slope of the
    response is the cost of a unit along w, or an end.
    """
    x = [low for low, _ in bounds]
    along = sum(w * low for w, low in zip(weights, x, strict=True))
    paid, best, best_value = 0.0, tuple(x), L / (1 + math.exp(-k * (along - b)))
    for i in sorted(range(len(x)), key=lambda i: -weights[i]):
        low, high = bounds[i]
        steepness = 0.25 - cost / (weights[i] * L * k) if weights[i] > 0 else -1.0
        if steepness < 0:  # it costs more than it ever brings
            break
        share = 0.5 + math.sqrt(steepness)
        root = b + math.log(share / (1 - share)) / k if share < 1 else math.inf
        for end in (min(max(low + (root - along) / weights[i], low), high), high):
            t = along + weights[i] * (end - low)
            value = L / (1 + math.exp(-k * (t - b))) - paid - cost * (end - low)
            if value > best_value:
                best, best_value = (*x[:i], end, *x[i + 1 :]), value
        x[i], along, paid = high, along + weights[i] * (high - low), paid + cost * (high - low)
    return best
