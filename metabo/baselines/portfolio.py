"""The few candidates that together served earlier tasks best: where a search without a mean begins.

[Wistuba2015]_ find such a set greedily, and few-shot Bayesian optimisation [Wistuba2021]_ by an
evolutionary search for the same loss.

.. [Wistuba2015] M. Wistuba, N. Schilling, L. Schmidt-Thieme. Learning Hyperparameter Optimization
   Initializations. DSAA 2015.
.. [Wistuba2021] M. Wistuba, J. Grabocka. Few-Shot Bayesian Optimization with Deep Kernel
   Surrogates. arXiv:2101.07667.
"""

from __future__ import annotations

import torch
from torch import Tensor


def portfolio(values: Tensor, size: int) -> list[int]:
    """Candidates that, one after the other, lower the tasks' mean regret the most.

    Args:
        values: `T x N`; larger is better. A task's regret is a share of the range of its values.
        size: How many; fewer where there are not that many candidates.
    """
    best, worst = values.amax(-1, keepdim=True), values.amin(-1, keepdim=True)
    regrets = (best - values) / (best - worst).clamp_min(torch.finfo(values.dtype).tiny)
    left = torch.full_like(regrets[:, :1], torch.inf)
    chosen: list[int] = []
    for _ in range(min(size, values.shape[-1])):
        gains = torch.minimum(regrets, left).mean(0)
        gains[chosen] = torch.inf
        chosen.append(int(gains.argmin()))
        left = torch.minimum(left, regrets[:, chosen[-1:]])
    return chosen
