"""The learned mean function and a kernel on the learned features: the mixture without its heads."""

from __future__ import annotations

from torch import Tensor

from metabo.prior import Prior
from metabo.surrogates.plain_gp import PlainGP


class ReptileKernelGP(PlainGP):
    """A `SingleTaskGP` with a deep kernel: Matern-5/2 on the network's features.

    All features have one length scale, which holds for any network that was trained likewise. The
    mean is that of `ReptileMeanGP`: the two differ in what the kernel sees. Arguments and errors
    are those of `PlainGP`; ValueError if the Prior has no plain kernels.
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
        kernel = prior.plain_kernels.on_features
        width = prior.num_features
        columns = range(width - prior.network.num_features, width - 1)  # the last one is constant
        super().__init__(
            train_X, train_Y, prior, train_Yvar, kernel=kernel, columns=columns, adapt=adapt
        )
