"""One task's observations, and what a surrogate refuses to be built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from botorch.exceptions.errors import (
    BotorchTensorDimensionError,
    InputDataError,
    UnsupportedError,
)
from botorch.models.transforms.input import InputStandardize, Normalize
from botorch.models.transforms.outcome import Standardize
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TrainingData:
    """One task's observations, or a batch of tasks'; Y after the outcome transform.

    Attributes:
        X: `batch_shape x n x d`, in the user's units.
        Y: `batch_shape x n x 1`.
        Yvar: `batch_shape x n x 1`, known noise variances; NaN or None where the learned noise
            holds.
    """

    X: Tensor
    Y: Tensor
    Yvar: Tensor | None

    def __len__(self) -> int:
        return self.Y.shape[-2]

    @property
    def mean_known_noise(self) -> Tensor | None:
        """`batch_shape x 1 x 1`; None if the learned noise holds for an observation."""
        if self.Yvar is None or len(self) == 0 or bool(self.Yvar.isnan().any()):
            return None
        return self.Yvar.mean(-2, keepdim=True)

    def select(self, rows: Tensor) -> TrainingData:
        """Some of the observations."""
        return self.apply(lambda values: values[..., rows, :])

    def apply(self, function: Callable[[Tensor], Tensor]) -> TrainingData:
        """Each tensor, after a function."""
        Yvar = None if self.Yvar is None else function(self.Yvar)
        return TrainingData(function(self.X), function(self.Y), Yvar)

    def extended(self, X: Tensor, Y: Tensor, noise: Tensor | None) -> TrainingData:
        """With more observations, whose batch dimensions may be more.

        Args:
            X: `... x n' x d`.
            Y: `... x n' x 1`.
            noise: `... x 1 x 1` or `... x n' x 1`; the mean of the known variances, or else the
                learned noise, if None.
        """
        batch = torch.broadcast_shapes(X.shape[:-2], Y.shape[:-2], self.Y.shape[:-2])

        def joined(old: Tensor, new: Tensor) -> Tensor:
            old = old.expand(*batch, *old.shape[-2:])
            return torch.cat([old, new.expand(*batch, *new.shape[-2:]).to(old)], -2)

        Yvar = self.Yvar
        if Yvar is not None or noise is not None:
            Yvar = torch.full_like(self.Y, torch.nan) if Yvar is None else Yvar
            noise = self.mean_known_noise if noise is None else noise
            noise = Yvar.new_full((1, 1), torch.nan) if noise is None else noise
            Yvar = joined(Yvar, noise.expand(*noise.shape[:-2], Y.shape[-2], 1))
        return TrainingData(joined(self.X, X), joined(self.Y, Y), Yvar)


def refuse_learned_scales(transform: torch.nn.Module | None) -> None:
    """Refuse a transform that learns a scale from one task's observations.

    Raises:
        UnsupportedError: Naming the transform.
    """
    for part in () if transform is None else transform.modules():
        learns = isinstance(part, (InputStandardize, Standardize))
        if learns or (isinstance(part, Normalize) and not part.reverse):
            raise UnsupportedError(
                f"{type(part).__name__} would put its own scale in the place of the Prior's, which "
                "knows the units that it was trained in: leave it out"
            )


def check_training_data(X: Tensor, Y: Tensor, Yvar: Tensor | None) -> None:
    """Check observations: X `batch_shape x n x d`, Y and Yvar `batch_shape x n x 1`.

    Raises:
        BotorchTensorDimensionError: If shapes do not fit.
        InputDataError: If Y is not finite, or a variance is negative or missing.
    """
    if X.dim() < 2 or Y.shape != (*X.shape[:-1], 1):
        raise BotorchTensorDimensionError(
            "train_X must be batch_shape x n x d and train_Y batch_shape x n x 1; got "
            f"{tuple(X.shape)} and {tuple(Y.shape)}"
        )
    if Yvar is not None and Yvar.shape != Y.shape:
        raise BotorchTensorDimensionError(
            f"train_Yvar must have the shape {tuple(Y.shape)} of train_Y; got {tuple(Yvar.shape)}"
        )
    if not bool(Y.isfinite().all()):
        row = tuple((~Y.isfinite()).nonzero()[0].tolist())
        raise InputDataError(f"train_Y is {Y[row].item()} at {row}: leave failed observations out")
    if Yvar is not None and not bool((Yvar >= 0).all()):
        raise InputDataError("train_Yvar has a negative or missing value; it is a variance")
