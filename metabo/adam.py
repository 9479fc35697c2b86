"""Adam without what comes with `torch.optim.Adam`: the compiler, whose import takes seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam [Kingma2015]_ with PyTorch's default decay rates.

    Constructing any `torch.optim.Optimizer` imports `torch._dynamo`: 2-4 s, a tenth of all of
    meta-training. PyTorch's functional form of the same step does not.

    Args:
        groups: Parameters, changed in place, and the step size of each group.

    .. [Kingma2015] D. P. Kingma, J. Ba. Adam: A Method for Stochastic Optimization.
        arXiv:1412.6980.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Tensor], float]]) -> None:
        self._groups = [(list(parameters), step_size) for parameters, step_size in groups]
        self._first, self._second = (
            [[torch.zeros_like(p) for p in parameters] for parameters, _ in self._groups]
            for _ in range(2)
        )
        # Beside the parameters, as the fused step wants them.
        self._steps = [
            [torch.zeros((), dtype=torch.float32, device=p.device) for p in parameters]
            for parameters, _ in self._groups
        ]

    def step(self, loss: Tensor, factor: float = 1.0) -> None:
        """One step against the gradient of `loss`, the step sizes multiplied by `factor`."""
        everything = [p for parameters, _ in self._groups for p in parameters]
        slopes = list(torch.autograd.grad(loss, everything))
        for i, (parameters, step_size) in enumerate(self._groups):
            own, slopes = slopes[: len(parameters)], slopes[len(parameters) :]
            with torch.no_grad():
                adam(
                    parameters,
                    own,
                    self._first[i],
                    self._second[i],
                    [],
                    self._steps[i],
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=step_size * factor,
                    weight_decay=0.0,
                    eps=1e-8,
                    maximize=False,
                    fused=True,
                )


def cooled(progress: float, least: float) -> float:
    """A factor on step sizes that falls from 1 to `least` along a cosine, as progress nears 1."""
    return least + (1 - least) * (1 + math.cos(math.pi * progress)) / 2
