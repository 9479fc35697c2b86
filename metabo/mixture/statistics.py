r"""What tasks say of their heads, and mixtures of Gaussians over heads.

Task t enters only through the sufficient statistics of its likelihood as a function of the head w,

.. math:: \log p(y_t | w) = -\tfrac12 (c_t - 2 b_t \cdot w + w^\top G_t w),

so tasks may be ragged, short and noisy, and count for what they are worth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabo.cores import on_cores, part_size
from metabo.mixture.remainder import Remainder, whiten

_CHUNK_BYTES = 1 << 19  # of tasks' covariances at once: what is made of them stays in the cache


@dataclass(frozen=True, eq=False)
class HeadStatistics:
    """The log likelihood of T tasks, `-(energy - 2 projection w + w precision w) / 2`.

    Attributes:
        precision: `T x p x p`.
        projection: `T x p`.
        energy: `T`, the terms that do not depend on w, the normalising constant included.
    """

    precision: Tensor
    projection: Tensor
    energy: Tensor

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.energy.shape[0]

    @classmethod
    def of_tasks(
        cls,
        features: Tensor,
        inputs: Tensor,
        targets: Tensor,
        mask: Tensor,
        remainder: Remainder,
        trend: Tensor | None = None,
    ) -> HeadStatistics:
        """Summarise padded tasks.

        Args:
            features: `T x n x p`.
            inputs: `T x n x e`, encoded.
            targets: `T x n`, in model units.
            mask: `T x n` (bool), false where a row is padding.
            remainder: The kernel of what the features leave over, and the noise.
            trend: `p`, the head of the family's mean function, if the remainder depends on it.
        """
        size = part_size(max(_CHUNK_BYTES // (8 * inputs.shape[1] ** 2), 1), inputs.device)

        def of(part: slice) -> tuple[Tensor, ...]:
            own, x = features[part], inputs[part]
            columns = torch.cat([own, targets[part].unsqueeze(-1)], -1)
            covariance = remainder.covariance(x, None if trend is None else own @ trend)
            columns, constant = whiten(columns, covariance, remainder.noise, mask[part])
            white, y = columns[..., :-1], columns[..., -1:]
            energy = y.square().sum((-1, -2)) + constant
            return white.mT @ white, (white.mT @ y).squeeze(-1), energy

        parts = on_cores(of, [slice(i, i + size) for i in range(0, len(inputs), size)])
        return cls(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def select(self, index: Tensor | slice) -> HeadStatistics:
        """Those of the tasks at `index`."""
        return HeadStatistics(self.precision[index], self.projection[index], self.energy[index])

    def shifted(self, mean: Tensor, root: Tensor) -> HeadStatistics:
        """The statistics of `v` (r) in `w = mean + root v`; mean `p`, root `p x r`."""
        pull = self.precision @ mean
        energy = self.energy - 2 * self.projection @ mean + pull @ mean
        projected = (self.projection - pull) @ root
        return HeadStatistics(root.mT @ self.precision @ root, projected, energy)


@dataclass(frozen=True, eq=False)
class HeadPrior:
    """A mixture over heads: log weights `K`, means `K x p`, roots `K x p x r`."""

    log_weights: Tensor
    means: Tensor
    roots: Tensor
