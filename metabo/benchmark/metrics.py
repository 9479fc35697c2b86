"""Scores of predictions and of optimisation runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily


def mean_squared_error(prediction: Distribution, truth: Tensor) -> float:
    """The mean over q points of (mean prediction - truth)^2.

    Args:
        prediction: Of batch shape q.
        truth: q values: of the noise-free function where it is known, else observations.
    """
    return float((prediction.mean - truth).square().mean())


def negative_log_density(prediction: Distribution, observations: Tensor) -> float:
    """The mean over q points of the negative log predictive density; smaller is better.

    Args:
        prediction: Of observations, noise included; of batch shape q.
        observations: q values, each scored on its own.
    """
    return float(-prediction.log_prob(observations).mean())


def coverage(prediction: Distribution, observations: Tensor, *, level: float = 0.9) -> float:
    """The share of q observations inside the central interval that is to hold `level` of them."""
    below = prediction.cdf(observations)
    tail = (1 - level) / 2
    return float(((below > tail) & (below < 1 - tail)).double().mean())


def crps(prediction: Distribution, observations: Tensor, *, draws: int = 1000) -> float:
    """The mean over q points of the continuous ranked probability score; smaller is better.

    `E|Y - y| - E|Y - Y'| / 2`, in the unit of the observations [Gneiting2007]_, by fixed draws.

    Args:
        prediction: Of observations, noise included; of batch shape q.
        observations: q values, each scored on its own.
        draws: How many of the prediction; their error is about 3% of a single point's score.

    .. [Gneiting2007] T. Gneiting, A. E. Raftery. Strictly Proper Scoring Rules, Prediction, and
       Estimation. Journal of the American Statistical Association 102, 2007.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        values = _sample(prediction, draws).sort(0).values
    error = (values - observations).abs().mean(0)
    ranks = torch.arange(1, draws + 1).to(values)
    spread = (2 * ranks - draws - 1) @ values / (draws * (draws - 1))
    return float((error - spread).mean())


def _sample(prediction: Distribution, draws: int) -> Tensor:
    """`draws x q`; a mixture's own `sample` would draw from every component each time."""
    if not isinstance(prediction, MixtureSameFamily):
        return prediction.sample(torch.Size([draws]))
    chosen = prediction.mixture_distribution.sample(torch.Size([draws])).T
    parts = prediction.component_distribution
    means, deviations = parts.mean.gather(-1, chosen), parts.stddev.gather(-1, chosen)
    return torch.normal(means, deviations).T


def gap_closed(reference: ArrayLike, ours: ArrayLike, best: ArrayLike) -> float:
    """The share of the way from a reference to the best possible, by mean errors over tasks.

    1 is as good as the best, 0 as bad as the reference.
    """
    worst, found, bound = (np.asarray(x, dtype=float).mean() for x in (reference, ours, best))
    return float((worst - found) / (worst - bound))


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """A percentile bootstrap interval of the mean of independent values (such as one a task)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float("nan"), float("nan")
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=level, method="percentile", n_resamples=2000, rng=seed
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


class Difference(NamedTuple):
    """The mean of paired differences, its 95% bootstrap interval, and Wilcoxon's p."""

    mean: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} (95% interval {self.low:.3g} to {self.high:.3g}, p = {self.p:.2g})"


def paired_difference(theirs: ArrayLike, ours: ArrayLike) -> Difference:
    """How much larger one method's errors are than another's on the same tasks and seeds.

    Args:
        theirs: One error for each pair; the pandas index, if there is one, is not looked at.
        ours: Likewise, in the same order.
    """
    gain = np.asarray(theirs, dtype=float) - np.asarray(ours, dtype=float)
    p = float(stats.wilcoxon(gain).pvalue) if gain.any() else 1.0
    return Difference(float(gain.mean()), *bootstrap_interval(gain), p)
