"""The inputs of a family of tasks: their names, ranges, scales and categories."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import pandas as pd
import torch
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, Constant
from torch import Tensor
from torch.quasirandom import SobolEngine

from metabo import column
from metabo.column import Input, SpaceError, closest
from metabo.encoding import Encoding, exp_where, log_where

__all__ = ["InputSpace", "SpaceError"]

Row = Mapping[str, Any]

_BOUNDS = "(low, high) for one input, or 2 x d: all lower bounds, then all upper bounds"


class InputSpace:
    """Named inputs; a point is a row of d numbers in the user's units.

    A category is its index among the choices, an ordinal value its rank. Immutable.

    Args:
        configuration_space: The inputs; copied.
        names: The order of the columns. ConfigSpace itself sorts by name, which is the default
            here.

    Raises:
        SpaceError: If the space is empty, has conditions or forbidden clauses, or has an input of
            another type than float, integer, categorical, ordinal or constant.
    """

    def __init__(
        self, configuration_space: ConfigurationSpace, names: Sequence[str] | None = None
    ) -> None:
        if not isinstance(configuration_space, ConfigurationSpace):
            given = type(configuration_space).__name__
            raise TypeError(f"expected a ConfigSpace.ConfigurationSpace, got a {given}")
        if configuration_space.conditions or configuration_space.forbidden_clauses:
            raise SpaceError(
                "conditions and forbidden clauses are not supported: use a space without them"
            )
        known = list(configuration_space)
        if not known:
            raise SpaceError("the space has no inputs; add at least one")
        self.names: tuple[str, ...] = tuple(known if names is None else names)
        if sorted(self.names) != sorted(known):
            raise SpaceError(
                f"names {list(self.names)} must be the inputs of the space, each once: {known}"
            )
        self._configuration_space = _copy(configuration_space)
        self._encodings: dict[tuple[torch.dtype, torch.device], Encoding] = {}
        self.bounds  # noqa: B018  (refuses an input of an unknown type here, not later)

    @classmethod
    def from_bounds(cls, bounds: Any, names: Sequence[str] | None = None) -> Self:
        """Real inputs on a linear scale.

        Args:
            bounds: (low, high) for one input; `2 x d`: all lower, then all upper bounds; or a
                dict {name: (low, high)}.
            names: Of the d inputs; default x, or x1 to xd.

        Raises:
            SpaceError: If the shape is another, or not every lower bound is below its upper bound.
        """
        if isinstance(bounds, Mapping):
            names, bounds = list(bounds), list(zip(*bounds.values(), strict=True))
        try:
            limits = torch.as_tensor(bounds, dtype=torch.float64, device="cpu")
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise SpaceError(f"bounds are {bounds!r}; give numbers: {_BOUNDS}") from error
        if limits.shape == (2,):
            limits = limits.unsqueeze(-1)
        if limits.ndim != 2 or limits.shape[0] != 2 or limits.shape[1] == 0:
            raise SpaceError(f"bounds have the shape {tuple(limits.shape)}; give {_BOUNDS}")
        d = limits.shape[1]
        names = names or (["x"] if d == 1 else [f"x{i + 1}" for i in range(d)])
        if len(names) != d:
            raise SpaceError(f"{len(names)} names for {d} inputs: {list(names)}")
        ranges = zip(names, limits.T.tolist(), strict=True)
        return cls._of([column.interval(name, low, high) for name, (low, high) in ranges])

    @classmethod
    def infer(cls, frame: pd.DataFrame, inputs: Sequence[str]) -> Self:
        """Find types, ranges and scales from the values that the inputs took.

        Whole numbers become integers (also in a float column), other numbers floats, each over the
        range seen; strings, booleans and pandas categories become categorical, ordered categories
        ordinal. A log scale is chosen if the values are positive, span a factor of 50, and are
        nearer to uniform in the logarithm. Declare a space where this guess is wrong.

        Raises:
            SpaceError: If a column does not exist or holds values that are missing or of no use.
        """
        for name in inputs:
            if name not in frame.columns:
                raise SpaceError(f"no column {name!r}: {closest(name, frame.columns)}")
        return cls._of([column.infer(name, frame[name]) for name in inputs])

    @classmethod
    def _of(cls, hyperparameters: list[Input]) -> Self:
        names = [hyperparameter.name for hyperparameter in hyperparameters]
        if len(set(names)) < len(names):
            raise SpaceError(f"input names must differ, got {names}")
        space = ConfigurationSpace()
        space.add(hyperparameters)
        return cls(space, names)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The space that `to_json` wrote."""
        return cls(
            ConfigurationSpace.from_serialized_dict(data["configuration_space"]), data["names"]
        )

    def to_json(self) -> dict[str, Any]:
        """ConfigSpace's own serialisation, and the order of the columns."""
        return {
            "names": list(self.names),
            "configuration_space": _serialize(self._configuration_space),
        }

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, InputSpace) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return "\n".join(
            ["InputSpace", *(f"  {hyperparameter}" for hyperparameter in self._inputs)]
        )

    @cached_property
    def _inputs(self) -> tuple[Input, ...]:
        """The hyperparameters in the order of the columns."""
        return tuple(self._configuration_space[name] for name in self.names)

    @property
    def configuration_space(self) -> ConfigurationSpace:
        """A copy of the space as ConfigSpace has it."""
        return _copy(self._configuration_space)

    @property
    def dim(self) -> int:
        """The number of inputs, d."""
        return len(self.names)

    @cached_property
    @torch.inference_mode(False)
    def bounds(self) -> Tensor:
        """Lower and upper bounds, `2 x d`, float64, user units; a category runs from 0 to C - 1."""
        return torch.tensor(
            [column.limits(h) for h in self._inputs], dtype=torch.float64
        ).T.contiguous()

    @cached_property
    def categories(self) -> dict[str, tuple[Any, ...]]:
        """The choices behind the indices of categorical and ordinal inputs."""
        listed = {h.name: column.choices(h) for h in self._inputs}
        return {name: values for name, values in listed.items() if values is not None}

    @cached_property
    def categorical_dims(self) -> tuple[int, ...]:
        """Columns whose numbers are indices without an order."""
        return tuple(
            i
            for i, h in enumerate(self._inputs)
            if isinstance(h, CategoricalHyperparameter)
            or (isinstance(h, Constant) and h.name in self.categories)
        )

    @cached_property
    def numeric_dims(self) -> tuple[int, ...]:
        """Columns whose numbers have an order: floats, integers, ranks and constant numbers."""
        return tuple(i for i in range(self.dim) if i not in self.categorical_dims)

    @cached_property
    def integer_dims(self) -> tuple[int, ...]:
        """Those of `numeric_dims` that hold whole numbers only."""
        return tuple(i for i in self.numeric_dims if not column.is_float(self._inputs[i]))

    @cached_property
    def log_dims(self) -> tuple[int, ...]:
        """Columns on a log scale."""
        return tuple(i for i, h in enumerate(self._inputs) if getattr(h, "log", False))

    @cached_property
    @torch.inference_mode(False)
    def _whole(self) -> Tensor:
        return self._mask(self.integer_dims + self.categorical_dims)

    @cached_property
    @torch.inference_mode(False)
    def _log(self) -> Tensor:
        return self._mask(self.log_dims)

    def _mask(self, dims: Sequence[int]) -> Tensor:
        return torch.tensor([i in dims for i in range(self.dim)])

    @property
    def encoded_dim(self) -> int:
        """The number of encoded columns, e: the numeric inputs, then one for each category."""
        return len(self._encoding)

    @cached_property
    @torch.inference_mode(False)
    def _encoding(self) -> Encoding:
        return Encoding.of(self.bounds, self._log, self.categorical_dims)

    def encode(self, X: Tensor) -> Tensor:
        """Map points (`... x d`, user units) to network inputs (`... x e`), see `Encoding`.

        In X's dtype and on its device; differentiable in the numeric inputs. Points outside the
        bounds are extrapolated, not refused.

        Raises:
            SpaceError: If X has another number of columns.
        """
        if X.shape[-1] != self.dim:
            raise SpaceError(
                f"points with {X.shape[-1]} inputs in a space of {self.dim}: "
                f"{', '.join(self.names)}"
            )
        return self._encoding_like(X)(X)

    def decode(self, inputs: Tensor) -> Tensor:
        """The legal points (`... x d`, user units) that `encode` maps to inputs (`... x e`)."""
        return self.snap(self._encoding_like(inputs).inverse(inputs))

    def _encoding_like(self, X: Tensor) -> Encoding:
        key = (X.dtype, X.device)
        if key not in self._encodings:  # cached: every step of an acquisition optimiser encodes
            with torch.inference_mode(False):
                self._encodings[key] = self._encoding.to(*key)
        return self._encodings[key]

    def check(self, X: Tensor, name: str = "X") -> None:
        """Refuse points (`... x d`) that are not legal, up to the rounding of floats.

        Raises:
            SpaceError: Naming the row, the input and the value, if one is not finite, outside its
                bounds, or not whole where it must be.
        """
        if X.ndim < 1 or X.shape[-1] != self.dim:
            shape = " x ".join(map(str, X.shape)) or "a single number"
            inputs = ", ".join(self.names)
            raise SpaceError(
                f"{name} is {shape}, but its last dimension must be {self.dim}: {inputs}"
            )
        low, high = self.bounds.to(X.device)
        rows = X.detach().reshape(-1, self.dim)
        relative = max(1e-9, 8 * torch.finfo(X.dtype).eps) if X.is_floating_point() else 0.0
        magnitude = torch.where(self._log, self.bounds, self.bounds.abs().amax(0)).to(X.device)
        # ConfigSpace rounds bounds to 13 decimals.
        slack = relative * magnitude + 1e-13
        bad = ~rows.isfinite() | (rows < low - slack[0]) | (rows > high + slack[1])
        bad |= self._whole.to(X.device) & (
            (rows - rows.round()).abs() > relative * rows.abs() + 1e-9
        )
        if bad.any():
            row, i = (int(index) for index in bad.nonzero()[0])
            where = f"{name}, row {row}" if name else f"row {row}"
            raise SpaceError(f"{where}: {self._complaint(i, float(rows[row, i]))}", row=row)

    def _complaint(self, i: int, value: float) -> str:
        hyperparameter, (low, high) = self._inputs[i], self.bounds[:, i].tolist()
        what = f"input {hyperparameter.name!r} is {value!r}, "
        if not math.isfinite(value):
            return what + "not a finite number"
        if low <= value <= high and self._whole[i]:
            return what + "but only whole numbers are legal"
        listed = self.categories.get(hyperparameter.name)
        if listed is not None:
            return what + f"outside the indices 0 to {high:g} of its choices {listed}"
        return what + f"outside [{low:.10g}, {high:.10g}]; remove it or declare a wider space"

    def to_tensor(self, rows: Row | Sequence[Row] | pd.DataFrame) -> Tensor:
        """Turn one point or n points with named values into legal `n x d` numbers, float64.

        Raises:
            SpaceError: If an input is missing or unknown, a category is unknown, or a value is not
                legal.
        """
        if isinstance(rows, Mapping):
            rows = [rows]
        if isinstance(rows, pd.DataFrame):
            self._check_names(rows.columns, "the table")
            columns = [rows[name] for name in self.names]
        else:
            for i, row in enumerate(rows):
                self._check_names(row, f"row {i}")
            columns = [[row[name] for row in rows] for name in self.names]
        X = torch.stack(
            [column.to_numbers(h, c) for h, c in zip(self._inputs, columns, strict=True)], dim=-1
        )
        self.check(X, name="")
        return X

    def _check_names(self, given: Any, where: str) -> None:
        for name in given:
            if name not in self.names:
                raise SpaceError(
                    f"{where} has {name!r}, which is no input here: {closest(name, self.names)}"
                )
        for name in self.names:
            if name not in given:
                raise SpaceError(
                    f"{where} lacks the input {name!r}; give all of {', '.join(self.names)}"
                )

    def to_dicts(self, X: Tensor) -> list[dict[str, Any]]:
        """Turn `n x d` numbers into named values: int, float, or the category as it was given.

        Raises:
            SpaceError: If a point is not legal.
        """
        self.check(X)
        X = self.snap(X.detach().to("cpu", torch.float64))
        columns = [column.to_values(h, values) for h, values in zip(self._inputs, X.T, strict=True)]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def snap(self, X: Tensor) -> Tensor:
        """Move points (`... x d`) to the nearest legal ones: rounded where whole, then clipped."""
        X = torch.where(self._whole.to(X.device), X.round(), X)
        return torch.clamp(X, *self.bounds.to(X))

    def sample(self, n: int, *, seed: int, sobol: bool = True) -> Tensor:
        """Draw n legal points (`n x d`), uniform on the inputs' scales.

        Args:
            n: How many.
            seed: The same seed gives the same points.
            sobol: Scrambled Sobol points, which cover the space evenly, instead of independent
                ones.
        """
        if sobol:
            engine = SobolEngine(self.dim, scramble=True, seed=seed)
            return self.from_unit(engine.draw(max(n, 1), dtype=torch.float64)[:n])
        generator = torch.Generator().manual_seed(seed)
        return self.from_unit(torch.rand(n, self.dim, generator=generator, dtype=torch.float64))

    def from_unit(self, U: Tensor) -> Tensor:
        """Map the unit cube (`... x d`) to legal points, uniform on the inputs' scales."""
        low, high = self._unit_ends.to(U)
        return self.snap(exp_where(self._log.to(U.device), low + (high - low) * U))

    def to_unit(self, X: Tensor) -> Tensor:
        """Map points (`... x d`) to the unit cube, so that `from_unit` gives them back."""
        low, high = self._unit_ends.to(X)
        width = torch.where(high > low, high - low, torch.ones_like(low))
        return ((log_where(self._log.to(X.device), X) - low) / width).clamp(0, 1)

    @cached_property
    @torch.inference_mode(False)
    def _unit_ends(self) -> Tensor:
        # Half a step beyond the bounds of whole inputs: the first and last value get their share.
        margin = 0.5 * self._whole * (self.bounds[0] < self.bounds[1])
        return log_where(self._log, torch.stack([self.bounds[0] - margin, self.bounds[1] + margin]))


def _serialize(space: ConfigurationSpace) -> dict[str, Any]:
    plain = json.dumps(space.to_serialized_dict(), default=lambda value: value.item())
    data: dict[str, Any] = json.loads(plain)
    return data


def _copy(space: ConfigurationSpace) -> ConfigurationSpace:
    """An independent copy with plain Python values, as a space read back from JSON has them."""
    try:
        return ConfigurationSpace.from_serialized_dict(_serialize(space))
    except (TypeError, AttributeError) as error:
        raise SpaceError(
            f"the space cannot be written as JSON, use strings and numbers as choices: {error}"
        ) from error
