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
        X: `... x n x d`, in the user's units; without the batch dimensions that only Y has, as
            those of fantasies.
        Y: `batch_shape x n x 1`.
        Yvar: `... x n x 1`, known noise variances, likewise; NaN or None where the learned noise
            holds.
    """

    X: Tensor
    Y: Tensor
    Yvar: Tensor | None

    def __len__(self) -> int:
        return self.Y.shape[-2]

    @property
    def mean_known_noise(self) -> Tensor | None:
        """`... x 1 x 1`; None if the learned noise holds for an observation."""
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
        Yvar = self.Yvar
        if Yvar is not None or noise is not None:
            Yvar = self.Y.new_full((len(self), 1), torch.nan) if Yvar is None else Yvar
            noise = self.mean_known_noise if noise is None else noise
            noise = Yvar.new_full((1, 1), torch.nan) if noise is None else noise
            Yvar = _joined(Yvar, noise.expand(*noise.shape[:-2], Y.shape[-2], 1))
        Y = Y.expand(*batch, *Y.shape[-2:])
        return TrainingData(_joined(self.X, X), _joined(self.Y, Y), Yvar)


def _joined(old: Tensor, new: Tensor) -> Tensor:
    batch = torch.broadcast_shapes(old.shape[:-2], new.shape[:-2])
    old, new = (values.expand(*batch, *values.shape[-2:]) for values in (old, new))
    return torch.cat([old, new.to(old)], -2)


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
        InputDataError: If the numbers are not all floats of one precision, Y is not finite, or a
            variance is negative, infinite or missing.
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
    dtypes = [values.dtype for values in (X, Y, Yvar) if values is not None]
    if len(set(dtypes)) > 1 or not X.is_floating_point():
        found = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise InputDataError(
            "train_X, train_Y and train_Yvar must be floats of one precision, as double() makes "
            f"them; got {found}"
        )
    check_values(Y, Yvar, "train_")


def check_new_data(X: Tensor, Y: Tensor, noise: Tensor | None) -> None:
    """Check further observations: X `... x n x d`, Y `... x n x 1`, noise `... x n or 1 x 1`.

    Raises:
        BotorchTensorDimensionError: If shapes do not fit.
        InputDataError: As of `check_values`.
    """
    if X.dim() < 2 or Y.shape[-2:] != (X.shape[-2], 1):
        raise BotorchTensorDimensionError(
            "X must be batch_shape x n x d and Y batch_shape x n x 1; got "
            f"{tuple(X.shape)} and {tuple(Y.shape)}"
        )
    check_values(Y, noise)


def check_values(Y: Tensor, Yvar: Tensor | None, prefix: str = "") -> None:
    """Check outputs and noise variances, of any shape; the prefix is for their names.

    Raises:
        InputDataError: If Y is not finite, or a variance is negative, infinite or missing.
    """
    if not bool(Y.isfinite().all()):
        row = tuple((~Y.isfinite()).nonzero()[0].tolist())
        raise InputDataError(
            f"{prefix}Y is {Y[row].item()} at {row}: leave failed observations out"
        )
    if Yvar is not None and not bool(((Yvar >= 0) & Yvar.isfinite()).all()):
        raise InputDataError(
            f"{prefix}Yvar has a negative, infinite or missing value; it is a variance"
        )
