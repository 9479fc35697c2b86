r"""Expected improvement among the points that meet constraints on further outputs.

A constraint is a range that another output, with a Prior of its own, has to lie in. Outputs are
taken to be independent given the point, so that

.. math::
    \log a(x) = \log EI(x) + \sum_j \log P(l_j \le c_j(x) \le u_j),

as [Gardner2014]_ has it, with the incumbent among the points that met the constraints. As long as
there is none, the improvement is over the least that the objective is expected to be anywhere.

.. [Gardner2014] J. Gardner, M. Kusner, Z. Xu, K. Weinberger, J. Cunningham. Bayesian Optimization
   with Inequality Constraints. ICML 2014.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from botorch.acquisition import AcquisitionFunction
from botorch.utils.probability.utils import log_ndtr, log_prob_normal_in
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor

from metabo.mixture.conditioning import Prediction
from metabo.prior import Prior
from metabo.surrogates.incumbent_improvement import LogIncumbentImprovement
from metabo.surrogates.mixture_prior_gp import MixturePriorGP

_NARROWEST = 1e-6  # range, as a share of the output's scale
_POOL = 512  # points by which the least expectation is told


@dataclass(frozen=True)
class Constraint:
    """A range that a further output has to lie in, in the user's units.

    Attributes:
        prior: Of that output, learned as any other; over the same inputs.
        low: The least that is allowed.
        high: The most that is allowed.

    Raises:
        ValueError: If there is no such range.
    """

    prior: Prior
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        narrowest = _NARROWEST * self.prior.output_scale
        if not self.high - self.low > narrowest or (math.isinf(self.low) and math.isinf(self.high)):
            raise ValueError(
                f"a constraint of {self.low} to {self.high}: give low or high, low below high "
                f"by more than {narrowest:.3g}"
            )

    def surrogate(self, X: Tensor, values: Tensor) -> MixturePriorGP:
        """The model of the output, given `n x d` points and the values there, `n`."""
        return MixturePriorGP(X, self.prior.sign * values.unsqueeze(-1), self.prior)

    def met(self, values: Tensor) -> Tensor:
        """Whether measured values are in the range."""
        return (values >= self.low) & (values <= self.high)

    def log_probability(self, model: MixturePriorGP, X: Tensor) -> Tensor:
        """The logarithm of the probability, `N`, that the output at points `N x d` is in it."""
        conditioned, prior = model.conditioned.likely(), self.prior
        prediction = conditioned.predict(*model.encode(X))
        low, high = (self._standard(end, prediction) for end in (self.low, self.high))
        if prior.minimize:
            low, high = high, low
        if torch.isinf(low).all():
            log_probability = log_ndtr(high)
        elif torch.isinf(high).all():
            log_probability = log_ndtr(-low)
        else:
            # Far from here rounding makes one of both ends.
            high = torch.maximum(high, torch.nextafter(low, torch.full_like(low, math.inf)))
            log_probability = log_prob_normal_in(low, high)
        return (conditioned.log_weights[:, None] + log_probability).logsumexp(0)

    def _standard(self, end: float, prediction: Prediction) -> Tensor:
        """An end of the range in standard deviations from the means, `C x N`."""
        bound = self.prior.to_model(prediction.means.new_tensor(self.prior.sign * end))
        return (bound - prediction.means) / prediction.variances.sqrt()


class LogFeasibleImprovement(AcquisitionFunction):
    """The logarithm of the expected improvement times the probability that constraints are met.

    Args:
        improvement: Over the points that met the constraints, of which there may be none.
        constraints: What has to be met.
        models: The surrogate of each.
    """

    def __init__(
        self,
        improvement: LogIncumbentImprovement,
        constraints: Sequence[Constraint],
        models: Sequence[MixturePriorGP],
    ) -> None:
        super().__init__(improvement.model)
        self.improvement = improvement
        self.constraints, self.models = tuple(constraints), tuple(models)
        self.least: float | None = None
        if len(improvement.incumbent) == 0:
            space = self.constraints[0].prior.space  # which is that of the objective, too
            pool = space.sample(_POOL, seed=0).unsqueeze(-2)
            with torch.no_grad():
                self.least = float(improvement.expected(pool).min())

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: Tensor) -> Tensor:
        """The value, `b`, at `b x 1 x d`."""
        value = self.improvement(X)
        if self.least is not None:
            tiny = 1e-6 * self.improvement.prior.output_scale
            value = (value - self.least).clamp_min(tiny).log()
        pairs = zip(self.constraints, self.models, strict=True)
        return value + sum(c.log_probability(model, X.squeeze(-2)) for c, model in pairs)
