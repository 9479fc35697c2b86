r"""Families in closed form: one function whose parameters differ from task to task.

The two families of [Plug2021]_ are the logistic :math:`L / (1 + e^{-k (x - x_0)})` and the bell
:math:`L e^{-(x - \mu)^2 / (2 sd^2)}`.

.. [Plug2021] R. Plug. Meta-Learning Conjugate Priors for Few-Shot Bayesian Optimization.
arXiv:2101.00729.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metabo.space import InputSpace
from metabo.tasks.task import Task, TaskBatch, TaskFamily

Range = tuple[float, float]


class FunctionFamily(TaskFamily):
    """Tasks that are one function with parameters drawn uniformly from ranges.

    Args:
        function: Called as `function(X, **parameters)` with X `n x d` (float64) and each parameter
            a 0-d tensor; returns n or `n x 1` noise-free values. It may use NumPy or branch on a
            parameter; plain PyTorch is evaluated for all tasks at once.
        parameters: The lower and upper end of each parameter's range.
        bounds: An InputSpace, or what `InputSpace.from_bounds` takes.
        noise_sd: The standard deviation of the normal noise on every observation.
        names: Of the inputs, if `bounds` does not name them.

    Raises:
        ValueError: If a range or the noise is not legal, or the function fails on a trial or
            returns another shape.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Mapping[str, Range],
        bounds: Any,
        noise_sd: float = 0.0,
        names: Sequence[str] | None = None,
    ) -> None:
        self.function = function
        self.parameters = {name: _checked_range(name, ends) for name, ends in parameters.items()}
        self.space = (
            bounds if isinstance(bounds, InputSpace) else InputSpace.from_bounds(bounds, names)
        )
        if not (math.isfinite(noise_sd) and noise_sd >= 0):
            raise ValueError(f"noise_sd is {noise_sd}; give a finite number of at least 0")
        self.noise_sd = float(noise_sd)
        self._vectorised = self._try()

    def draw(
        self, num_tasks: int, seed: int, *, within: Mapping[str, Range] | None = None
    ) -> dict[str, Tensor]:
        """The parameters of T tasks, T float64 values each: those of `tasks` with the same seed.

        Args:
            num_tasks: T.
            seed: Of the draw.
            within: Smaller ranges, of all parameters, to draw from.
        """
        generator = torch.Generator().manual_seed(seed)
        return self._draw(num_tasks, generator, within or self.parameters)

    def evaluate(self, parameters: Mapping[str, Tensor], X: Tensor) -> Tensor:
        """The noise-free values (`T x n`) of T tasks at points of their own.

        Args:
            parameters: T values each, as from `draw`.
            X: `T x n x d`, in the user's units.

        Raises:
            ValueError: If the function fails, or returns another shape or values that are not
                finite.
        """
        if self._vectorised:
            values = torch.func.vmap(self._call)(X, dict(parameters)).to(X)
        else:
            values = self._loop(parameters, X)
        for t, i in (~values.isfinite()).nonzero()[:1].tolist():
            row = {name: float(value[t]) for name, value in parameters.items()}
            raise ValueError(
                f"{self._name} is {values[t, i].item()} at x = {X[t, i].tolist()} with {row}"
            )
        return values

    def tasks(self, num_tasks: int, num_points: int, *, seed: int) -> list[Task]:
        """Draw tasks, each observed with noise at points uniform on the inputs' scales."""
        parameters, X, Y = self._observe(num_tasks, num_points, seed)
        tasks = []
        for t in range(num_tasks):
            row = {name: float(value[t]) for name, value in parameters.items()}
            name = f"{type(self).__name__}-{seed}-{t}"
            tasks.append(
                Task(name, self.space, X[t], Y[t].unsqueeze(-1), partial(self._truth, row), row)
            )
        return tasks

    def batch(self, num_tasks: int, num_points: int, *, seed: int) -> TaskBatch:
        """The observations of the same tasks as `tasks` gives, stacked, in the user's units."""
        _, X, Y = self._observe(num_tasks, num_points, seed)
        return TaskBatch(X, Y, torch.full((num_tasks,), num_points))

    def describe(self) -> dict[str, Any]:
        """Kind, parameter ranges, noise and inputs."""
        return {
            "kind": type(self).__name__,
            "function": self._name,
            "parameters": {name: list(ends) for name, ends in self.parameters.items()},
            "noise_sd": self.noise_sd,
            "space": self.space.to_json(),
        }

    def _draw(
        self, num_tasks: int, generator: torch.Generator, ranges: Mapping[str, Range]
    ) -> dict[str, Tensor]:
        unit = torch.rand(num_tasks, len(ranges), generator=generator, dtype=torch.float64)
        columns = zip(ranges.items(), unit.unbind(-1), strict=True)
        return {name: low + (high - low) * u for (name, (low, high)), u in columns}

    def _observe(
        self, num_tasks: int, num_points: int, seed: int
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Parameters (T each), points (`T x n x d`) and noisy values (`T x n`)."""
        if num_tasks < 1 or num_points < 1:
            raise ValueError(
                f"num_tasks is {num_tasks} and num_points {num_points}; both must be at least 1"
            )
        generator = torch.Generator().manual_seed(seed)
        parameters = self._draw(num_tasks, generator, self.parameters)
        unit = torch.rand(
            num_tasks, num_points, self.space.dim, generator=generator, dtype=torch.float64
        )
        X = self.space.from_unit(unit)
        noise = torch.randn(num_tasks, num_points, generator=generator, dtype=torch.float64)
        return parameters, X, self.evaluate(parameters, X) + self.noise_sd * noise

    def _truth(self, row: Mapping[str, float], X: Tensor) -> Tensor:
        """One task's noise-free function, `n x d -> n x 1`."""
        parameters = {name: X.new_tensor([value]) for name, value in row.items()}
        return self.evaluate(parameters, X.unsqueeze(0)).squeeze(0).unsqueeze(-1)

    @property
    def _name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def _call(self, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """One task's values (n) at `n x d` points, from any allowed shape."""
        try:
            values = torch.as_tensor(self.function(x, **parameters))
        except Exception as error:
            raise ValueError(
                f"{self._name}(X, {', '.join(parameters)}) failed: {error!r}"
            ) from error
        n = len(x)
        if values.shape not in {(n,), (n, 1)}:
            raise ValueError(
                f"{self._name} returned the shape {tuple(values.shape)} for X of {tuple(x.shape)}; "
                f"it must return one value for each row, ({n},) or ({n}, 1)"
            )
        return values.reshape(n)

    def _loop(self, parameters: Mapping[str, Tensor], X: Tensor) -> Tensor:
        """The values (`T x n`) one task after the other."""
        rows = ({name: value[t] for name, value in parameters.items()} for t in range(len(X)))
        with (
            warnings.catch_warnings()
        ):  # np.sin(tensor) is fine; how it wraps its result is PyTorch's matter
            warnings.filterwarnings("ignore", message="__array_wrap__", category=DeprecationWarning)
            return torch.stack([self._call(x, row) for x, row in zip(X, rows, strict=True)]).to(X)

    def _try(self) -> bool:
        """Run the function on a few points; whether `vmap` over tasks gives what a loop gives."""
        generator = torch.Generator().manual_seed(0)
        parameters = self._draw(3, generator, self.parameters)
        # d + 3 rows, so that one value for each input cannot pass for one value for each row.
        unit = torch.rand(
            3, self.space.dim + 3, self.space.dim, generator=generator, dtype=torch.float64
        )
        X = self.space.from_unit(unit)
        self._vectorised = False
        expected = self.evaluate(parameters, X)  # what fails here is the function, and is reported
        self._vectorised = True
        try:
            return torch.allclose(self.evaluate(parameters, X), expected)
        except (ValueError, RuntimeError):  # NumPy, a branch on a value, in-place work, ...
            return False


class LogisticFamily(FunctionFamily):
    r"""Logistic curves, :math:`L / (1 + e^{-k (x - x_0)})`: dose-response and growth curves.

    Args:
        L: Range of the upper asymptote.
        k: Range of the steepness.
        x0: Range of the midpoint.
        bounds: Of the one input.
        noise_sd: The standard deviation of the observation noise.
    """

    def __init__(
        self,
        L: Range = (1, 10),
        k: Range = (1, 10),
        x0: Range = (-1, 1),
        bounds: Any = (-4, 4),
        noise_sd: float = 0.05,
    ) -> None:
        super().__init__(logistic, {"L": L, "k": k, "x0": x0}, bounds, noise_sd)


class NormalFamily(FunctionFamily):
    r"""Bell curves, :math:`L e^{-(x - \mu)^2 / (2 sd^2)}`.

    Args:
        L: Range of the height.
        mu: Range of the position of the peak.
        sd: Range of the width; positive.
        bounds: Of the one input.
        noise_sd: The standard deviation of the observation noise.

    Raises:
        ValueError: If a width is not positive.
    """

    def __init__(
        self,
        L: Range = (1, 10),
        mu: Range = (-1, 1),
        sd: Range = (0.5, 2),
        bounds: Any = (-4, 4),
        noise_sd: float = 0.05,
    ) -> None:
        if min(sd) <= 0:
            raise ValueError(f"sd has the range {tuple(sd)}; a width must be positive")
        super().__init__(bell, {"L": L, "mu": mu, "sd": sd}, bounds, noise_sd)


def logistic(X: Tensor, L: Tensor, k: Tensor, x0: Tensor) -> Tensor:
    """The logistic curve, `n x 1 -> n x 1`; the sigmoid does not overflow however steep it is."""
    return L * torch.sigmoid(k * (X - x0))


def bell(X: Tensor, L: Tensor, mu: Tensor, sd: Tensor) -> Tensor:
    """The bell curve, `n x 1 -> n x 1`."""
    return L * torch.exp(-0.5 * ((X - mu) / sd) ** 2)


def _checked_range(name: str, ends: Range) -> Range:
    if name == "X":
        raise ValueError(
            "no parameter may be called 'X', which is the name of the points; rename it"
        )
    try:
        low, high = (float(end) for end in ends)
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameter {name!r} has the range {ends!r}; give (low, high)") from error
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(
            f"parameter {name!r} has the range ({low}, {high}); give finite numbers, low <= high"
        )
    return low, high
