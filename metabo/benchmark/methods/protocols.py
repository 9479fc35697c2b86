"""What a method has to have, to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor
from torch.distributions import Distribution

from metabo.benchmark.problems import Problem
from metabo.space import InputSpace


class Search(Protocol):
    """Ask and tell, as `metabo.Optimizer`."""

    def ask(self) -> dict[str, Any]: ...  # noqa: D102

    def tell(self, x: Mapping[str, Any], y: float) -> None: ...  # noqa: D102


class Predictor(Protocol):
    """A method that predicts."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """The distribution, of batch shape q, of observations at query points.

        Args:
            space: The inputs.
            X: `n x d`, n > 0.
            Y: `n x 1`.
            query: `q x d`.
        """
        ...


class Searcher(Protocol):
    """A method that optimises."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def search(self, problem: Problem, *, seed: int) -> Search:
        """Start on a problem, of which it may use all but the responses."""
        ...
