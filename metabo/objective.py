"""What is optimised on top of a measured response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

# As BoTorch's `GenericMCObjective` has it: responses `... x q x 1` and points `... x q x d` in the
# user's units give values `... x q`, of which larger is better.
Objective = Callable[[Tensor, Tensor], Tensor]
AnyObjective = TypeVar("AnyObjective", bound=Objective)


def affine(objective: AnyObjective) -> AnyObjective:
    """Say that an objective is affine in the response: at any point, a multiple of it and a shift.

    Its expected improvement is exact then, and takes a fraction of the time. So are benefit less
    cost, and all that has a price per unit:

        affine(lambda y, x: 3.5 * y.squeeze(-1) - 0.2 * x[..., 0])
    """
    objective.is_affine = True  # type: ignore[attr-defined]
    return objective


def is_affine(objective: Objective) -> bool:
    """Whether it was said to be."""
    return bool(getattr(objective, "is_affine", False))


@affine
def negative(Y: Tensor, X: Tensor) -> Tensor:
    """The negative of the response, for who wants the least."""
    return -Y.squeeze(-1)


@affine
def response(Y: Tensor, X: Tensor) -> Tensor:
    """The response itself."""
    return Y.squeeze(-1)


@dataclass(frozen=True)
class Defined:
    """An objective that refuses to be undefined: NaN would count as more than any number."""

    objective: Objective

    @property
    def is_affine(self) -> bool:
        """As the objective itself."""
        return is_affine(self.objective)

    def __call__(self, Y: Tensor, X: Tensor) -> Tensor:
        """Values `... x q` of responses `... x q x 1` at points `... x q x d`.

        Raises:
            ValueError: If one is NaN.
        """
        values = self.objective(Y, X)
        undefined = values.isnan()
        if undefined.any():
            where = float(Y.squeeze(-1).expand_as(values)[undefined][0])
            raise ValueError(
                f"the objective is NaN where the response is {where:g}: a model takes all numbers "
                "for possible, so define it for all, as log(y) by y.clamp_min(1e-6).log()"
            )
        return values


@dataclass(frozen=True)
class OfNegative:
    """An objective as a function of the negative of the response."""

    objective: Objective

    @property
    def is_affine(self) -> bool:
        """As the objective itself."""
        return is_affine(self.objective)

    def __call__(self, Y: Tensor, X: Tensor) -> Tensor:
        """Values `... x q` of negated responses `... x q x 1` at points `... x q x d`."""
        return self.objective(-Y, X)
