"""What a surrogate refuses to be built from."""

from __future__ import annotations

import torch
from botorch.exceptions.errors import (
    BotorchTensorDimensionError,
    InputDataError,
    UnsupportedError,
)
from botorch.models.transforms.input import InputStandardize, Normalize
from botorch.models.transforms.outcome import Standardize
from torch import Tensor


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
