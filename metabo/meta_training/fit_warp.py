r"""The warp of outputs under which a table's tasks look most like draws of Gaussian processes.

A warped Gaussian process [Snelson2003]_, its hyperparameters pooled over tasks: each task is a
level, a Matern-5/2 process and noise, and the density of its outputs in the user's units is

.. math:: \log N(v(y_t);\; m, K_t + \sigma^2 I) + \sum_i \log v'(y_{ti}).

.. [Snelson2003] E. Snelson, C. E. Rasmussen, Z. Ghahramani. Warped Gaussian Processes. NeurIPS
   2003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.adam import Adam
from metabo.mixture import HeadTasks, Remainder, log_likelihood
from metabo.tasks.task import TaskBatch
from metabo.warp import Warp, log_slope, sinh_arcsinh

_MAX_SKEW = 2.0  # slopes at the two ends then differ by a factor of 55
_MIN_TAIL = 0.1
_STARTS = (1.0, 0.3)  # of the tail; outputs over many orders of magnitude need the other one
_STEPS, _STEP_SIZE = 150, 0.06
_TASKS, _POINTS = 64, 40  # that a step sees
_JUDGED_TASKS, _JUDGED_POINTS = 256, 100  # that a warp is judged by
_NUM_PARAMETERS = 4
_LEAST = 100  # observations: fewer do not tell a warp from chance


def fit_warp(inputs: Tensor, raw: TaskBatch, *, seed: int) -> Warp | None:
    """The warp of a table's outputs, or None where they are not clearly better off with one.

    A warp has to pay for its four parameters (Schwarz's criterion), and its gain has to be larger
    than its standard error over the tasks.

    Args:
        inputs: `T x n x e`, encoded.
        raw: The tasks, Y in the user's units.
        seed: Decides which tasks and observations are looked at.
    """
    outputs = raw.Y[raw.mask]
    if len(outputs) < _LEAST or float(outputs.min()) == float(outputs.max()):
        return None
    model = _WarpedGP.around(inputs.shape[-1], outputs)
    tasks = TaskBatch(inputs, raw.Y, raw.counts)
    judged = tasks.some(_JUDGED_TASKS, _JUDGED_POINTS, torch.Generator().manual_seed(seed))
    plain = model.fitted(tasks, None, seed)(judged)
    warped = [model.fitted(tasks, tail, seed) for tail in _STARTS]
    best = max(warped, key=lambda fit: float(fit(judged).sum()))
    gain = best(judged) - plain
    price = 0.5 * _NUM_PARAMETERS * math.log(int(judged.counts.sum()))
    error = float(gain.std(correction=0)) * len(gain) ** 0.5
    return best.warp() if float(gain.sum()) > max(price, error) else None


@dataclass(frozen=True, eq=False)
class _WarpedGP:
    """Parameters: the warp's (center, log spread, skew, tail), unless there is none, the GP's.

    The warp's are relative to the outputs' median and quartiles, and unconstrained.
    """

    median: float
    width: float
    warping: Tensor | None
    kernel: Tensor  # log of: outputscale, noise, variance of the level, e length scales

    @classmethod
    def around(cls, encoded_dim: int, outputs: Tensor) -> _WarpedGP:
        """Where to start."""
        low, middle, high = outputs.quantile(outputs.new_tensor([0.25, 0.5, 0.75])).tolist()
        width = max(high - low, 1e-6 * float(outputs.max() - outputs.min()))
        lengthscales = [0.5 * math.log(max(encoded_dim, 1))] * encoded_dim
        return cls(middle, width, None, outputs.new_tensor([-0.7, -3.0, -0.7, *lengthscales]))

    def fitted(self, tasks: TaskBatch, tail: float | None, seed: int) -> _WarpedGP:
        """With the most likely parameters, by Adam."""
        kernel, warping = self.kernel.clone().requires_grad_(), None
        if tail is not None:
            start = math.log((tail - _MIN_TAIL) / (1.0001 - tail))
            warping = kernel.new_tensor([0.0, 0.0, 0.0, start]).requires_grad_()
        model = _WarpedGP(self.median, self.width, warping, kernel)
        parameters = [kernel] if warping is None else [kernel, warping]
        optimizer = Adam([(parameters, _STEP_SIZE)])
        generator = torch.Generator().manual_seed(seed)
        for _ in range(_STEPS):
            seen = tasks.some(_TASKS, _POINTS, generator)
            loss = (
                -(model(seen) / seen.counts).mean() + 0.005 * (kernel - self.kernel).square().sum()
            )
            optimizer.step(loss)
        return _WarpedGP(
            self.median, self.width, None if warping is None else warping.detach(), kernel.detach()
        )

    def __call__(self, tasks: TaskBatch) -> Tensor:
        """The log density of each task's outputs, in units of `width`."""
        mask, Z = tasks.mask, (tasks.Y - self.median) / self.width
        slope = torch.zeros_like(Z)
        if self.warping is not None:
            center, log_spread, skew, tail = self._constrained()
            Z = (Z - center) / log_spread.exp()
            slope = log_slope(Z, skew, tail) - log_spread
            Z = sinh_arcsinh(Z, skew, tail)
        count = mask.sum()
        Z = Z - (Z * mask).sum() / count
        scale = ((Z * mask).square().sum() / count).sqrt().clamp_min(1e-12)
        size, noise, level = self.kernel[:3].exp()
        shape = tasks.X.shape[:2]
        process = HeadTasks(
            features=Z.new_ones(*shape, 1),
            inputs=tasks.X,
            targets=Z / scale * mask,
            mask=mask,
            mean=Z.new_zeros(1),
            root=level.sqrt().reshape(1, 1),
        )
        remainder = Remainder(size, self.kernel[3:].exp(), noise + 1e-4)
        return log_likelihood(process, remainder) + ((slope - scale.log()) * mask).sum(-1)

    def _constrained(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        assert self.warping is not None
        center, log_spread, skew, tail = self.warping
        skew = _MAX_SKEW * (skew / _MAX_SKEW).tanh()
        return center, log_spread, skew, _MIN_TAIL + (1 - _MIN_TAIL) * tail.sigmoid()

    def warp(self) -> Warp:
        """The warp, in the user's units."""
        center, log_spread, skew, tail = (float(v) for v in self._constrained())
        return Warp(
            self.median + self.width * center, self.width * math.exp(log_spread), skew, tail
        )
