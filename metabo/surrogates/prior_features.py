"""A Prior's features as modules of GPyTorch: a mean function and a kernel."""

from __future__ import annotations

import copy
from typing import Any

import torch
from botorch.sampling.pathwise.features.generators import GenKernelFeatures
from botorch.sampling.pathwise.features.maps import KernelFeatureMap
from botorch.sampling.pathwise.utils import ChainedTransform, TensorTransform
from gpytorch.kernels import MaternKernel
from gpytorch.means import Mean
from torch import Tensor, nn

from metabo.prior import Prior, all_features


class PriorFeatures(nn.Module):
    """Features and encoded inputs side by side, `... x (p + e)`, of points in the user's units.

    Mean and kernel share it. As an input transform it would hide the user's inputs, which entropy
    search reads off a model.

    Args:
        prior: Its network is copied.
        adapt: Whether the copy can be trained.
    """

    def __init__(self, prior: Prior, *, adapt: bool = False) -> None:
        super().__init__()
        self.space = prior.space
        self.network, self.known = copy.deepcopy(prior.network), prior.known
        self.network.layers[:-1].requires_grad_(adapt)  # the last one is the head, not used here

    def forward(self, X: Tensor) -> Tensor:
        """At X, `... x d`."""
        inputs = self.space.encode(X)
        return torch.cat([all_features(self.network, self.known, inputs), inputs], -1)


class HeadMean(Mean):
    """The mean function: the features times one head, `p`."""

    def __init__(self, features: PriorFeatures, head: Tensor, *, adapt: bool = False) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Parameter(head.clone(), requires_grad=adapt)

    def forward(self, x: Tensor) -> Tensor:
        """The mean, `... x n`, at points `... x n x d`."""
        return self.features(x)[..., : len(self.head)] @ self.head


class Columns(TensorTransform):
    """Some columns of `PriorFeatures`."""

    def __init__(self, features: PriorFeatures, columns: range) -> None:
        super().__init__()
        self.features = features
        self.columns = columns

    def forward(self, values: Tensor, **kwargs: Any) -> Tensor:
        """`... x c`, of points `... x d`."""
        return self.features(values)[..., self.columns.start : self.columns.stop]


class FeatureMatern(MaternKernel):
    """Matern-5/2 on some columns of `PriorFeatures`."""

    def __init__(self, seen: Columns, **settings: Any) -> None:
        super().__init__(nu=2.5, **settings)
        self.seen = seen

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """The correlation, `... x n x m`, of points `... x n x d` and `... x m x d`."""
        return super().forward(self.seen(x1), self.seen(x2), diag=diag, **params)


@GenKernelFeatures.register(FeatureMatern)  # type: ignore[untyped-decorator]
def _fourier_features(
    kernel: FeatureMatern, *, num_inputs: int, num_outputs: int
) -> KernelFeatureMap:
    """For pathwise sampling: those of a Matern kernel, of what the kernel sees."""
    of_matern = GenKernelFeatures.dispatch(MaternKernel)
    found = of_matern(kernel, num_inputs=len(kernel.seen.columns), num_outputs=num_outputs)
    found.input_transform = ChainedTransform(found.input_transform, kernel.seen)
    return found
