"""The learned mean function and an ordinary kernel: the mixture without learned features."""

from __future__ import annotations

from torch import Tensor

from metabo.prior import Prior
from metabo.surrogates.plain_gp import PlainGP


class ReptileMeanGP(PlainGP):
    """A `SingleTaskGP` with the Prior's mean function and a Matern-5/2 kernel on the inputs.

    Arguments and errors are those of `PlainGP`; ValueError if the Prior has no plain kernels.
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        prior: Prior,
        train_Yvar: Tensor | None = None,
        *,
        adapt: bool = False,
    ) -> None:
        width, kernel = prior.num_features, prior.plain_kernels.on_inputs
        columns = range(width, width + prior.network.num_inputs)
        super().__init__(
            train_X, train_Y, prior, train_Yvar, kernel=kernel, columns=columns, adapt=adapt
        )
