"""The vanilla Gaussian process of a growing task, fitted again less and less often."""

from __future__ import annotations

from botorch.models import SingleTaskGP
from torch import Tensor

from metabo.baselines.vanilla_gp import unfitted_gp, vanilla_gp
from metabo.space import InputSpace

_EVERY_TIME = 10
_THEN_EVERY = 5


def is_due(n: int) -> bool:
    """Whether hyperparameters are fitted at n observations: up to 10, then at every fifth."""
    return n <= _EVERY_TIME or n % _THEN_EVERY == 0


class RefittedGP:
    """BoTorch's default model of a task that is observed one point at a time.

    Args:
        space: The inputs.
    """

    def __init__(self, space: InputSpace) -> None:
        self.space = space
        self._last: SingleTaskGP | None = None

    def given(self, X: Tensor, Y: Tensor) -> SingleTaskGP:
        """The model given observations, `n x d` and `n x 1`, with the latest hyperparameters."""
        if self._last is None or is_due(len(Y)):
            self._last = vanilla_gp(X, Y, self.space)
            return self._last
        model = unfitted_gp(X, Y, self.space)
        model.load_state_dict(dict(self._last.named_parameters()), strict=False)
        model.eval()
        return model
