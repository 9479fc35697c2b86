r"""Expected improvement over the incumbent, for a mixture: in closed form, noise and all.

The incumbent :math:`x^*` is the evaluated point with the best posterior mean. With noisy or few
observations its own value is uncertain, and correlated with the candidate's, so what counts is
their difference, which in component k is Gaussian:

.. math::
    EI(x) = \sum_k \pi_k\, E_k[(f(x) - f(x^*))_+], \quad
    f(x) - f(x^*) \sim N(\mu_k(x) - \mu_k(x^*),\;
    \sigma_k^2(x) + \sigma_k^2(x^*) - 2 \sigma_k(x, x^*)).

Points of a list, each of which is measured at most once, may gain what is particular to them, too.
Of tables where every point was measured once, that is a part of what was learned as noise, and the
family's noise is added to the variance: else a search stays where the features tell no difference.

Where the Prior warps outputs, f is the warped one: the best point is the same, and a gain counts
for as much as it is rare. An objective that is affine in the response, `metabo.objective.affine`,
makes other Gaussians of the same components, unless there is a warp. Of other objectives the
expectation is over fixed quasi-random draws. With an objective, gains that are rarer than one in
some hundred count for nothing: where there are no others, the point that least is known of is next.

The value is logarithmic, as [Ament2023]_ recommend: far from the optimum it still has a gradient.

.. [Ament2023] S. Ament, S. Daulton, D. Eriksson, M. Balandat, E. Bakshy. Unexpected Improvements to
   Expected Improvement for Bayesian Optimization. arXiv:2310.20708.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import _log_ei_helper
from botorch.exceptions.errors import UnsupportedError
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor
from torch.quasirandom import SobolEngine

from metabo.mixture.conditioning import Comparison, Marginals, Prediction
from metabo.objective import Objective, is_affine
from metabo.surrogates.mixture_prior_gp import MixturePriorGP

_NUM_DRAWS = 128
_LIKELY = 1e-4  # components with less of the posterior change no decision, and cost time
_FLOOR = 1e-30  # of the improvement in an objective, as a share of the standard deviation
_HOPE = 2.4  # deviations: a gain that is rarer counts for nothing, as if by so many draws
_PROBES = (0.0, 1.0, -3.0, 3.0)  # responses, in model units, that tell the line of an objective
_AFFINE = 1e-6  # of the largest value: how near to a line they have to be
_LEAST = 1e-250  # what a bound is raised by, lest it be zero where the improvement is not


class LogIncumbentImprovement(AcquisitionFunction):
    """The logarithm of the expected improvement over the best evaluated point, in user's units.

    Of the response itself, without an objective, it is in the units of the Prior's warp.

    Before the first evaluation there is no incumbent: then the value is the objective's
    expectation.

    Args:
        model: The surrogate.
        objective: What to maximise, as a function of the response and the point; the response
            itself if None.
        X_evaluated: `n x d`, where the incumbent is looked for; the model's training inputs if
            None.
        measured_once: Whether all points are different things, so that what is particular to one is
            a gain; not used with an objective.
        seed: Of the draws.

    Raises:
        UnsupportedError: If the model is batched.
        ValueError: If an objective is not affine and says that it is.
    """

    def __init__(
        self,
        model: MixturePriorGP,
        *,
        objective: Objective | None = None,
        X_evaluated: Tensor | None = None,
        measured_once: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        if model.batch_shape:
            raise UnsupportedError(
                "LogIncumbentImprovement is for one task at a time; the model has a batch of "
                f"{tuple(model.batch_shape)} tasks or fantasies"
            )
        self.conditioned, self.encode = model.conditioned.likely(_LIKELY), model.encode
        self.prior = model.prior
        self.objective = objective
        self._is_affine = (
            objective is not None and is_affine(objective) and model.prior.warp is None
        )
        self.draws = _draws(seed).to(model.train_targets.device)
        X = model.train_inputs[0] if X_evaluated is None else X_evaluated
        # Of a variance of which rounding may leave nothing: its root has a gradient then, too.
        mixture = self.conditioned.mixture
        scales = mixture.roots.square().sum((-1, -2)) + mixture.outputscales
        self._floor = 1e-12 * float(scales.max())
        unseen = mixture.noises.masked_fill(mixture.is_broad, 0.0)
        self._particular = unseen[:, None] * float(measured_once and objective is None)
        self.incumbent, self.incumbent_row = X[:0], -1
        if len(X):
            with torch.no_grad():
                self.incumbent_row = int(self.expected(X.unsqueeze(-2)).argmax())
                self.incumbent = X[self.incumbent_row][None]

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: Tensor) -> Tensor:
        """The logarithm of the expected improvement, `b`, at `b x 1 x d`."""
        if len(self.incumbent) == 0:
            return self.expected(X).to(self.incumbent)
        reference = self.encode(self.incumbent.to(X))
        compared = self.conditioned.compare(reference, self.encode(X.squeeze(-2)))
        return self.improvement(X, compared).to(self.incumbent)

    @property
    def in_closed_form(self) -> bool:
        """Whether no draws are needed."""
        return self.objective is None or self._is_affine

    def expected(self, X: Tensor) -> Tensor:
        """The expectation of the objective, `b`, at `b x 1 x d`."""
        return self.expectation(X, self.conditioned.predict(*self.encode(X.squeeze(-2))))

    def expectation(self, X: Tensor, predicted: Prediction | Marginals) -> Tensor:
        """`expected`, from what the model predicts there."""
        weights = self.conditioned.log_weights.exp()
        if self.in_closed_form:
            center, scale = weights @ predicted.means, self.prior.output_scale
            if self.objective is None:
                return self.prior.output_offset + scale * center
            shift, slope = self._line(X)
            return scale * (shift + slope * center)
        deviations = predicted.variances.sqrt().unsqueeze(-1)
        values = predicted.means.unsqueeze(-1) + deviations * self.draws[:, 0]
        return weights @ self._value(values, X).mean(-1)

    def improvement(self, X: Tensor, compared: Comparison) -> Tensor:
        """`forward`, from what the model predicts there and at the incumbent."""
        if not self.in_closed_form:
            return self._by_draws(X, compared)
        gain, deviation = self._difference(X, compared)
        log_improvement = deviation.log() + _log_ei_helper(gain / deviation)
        if self._is_affine:
            hopeless = gain < -_HOPE * deviation
            log_floor = self._least(compared).log()
            log_improvement = log_improvement.masked_fill(hopeless, -math.inf).logaddexp(log_floor)
        total = (self.conditioned.log_weights[:, None] + log_improvement).logsumexp(0)
        return total + math.log(self.prior.output_scale)

    def log_bound(self, X: Tensor, compared: Comparison) -> Tensor:
        r"""What the value, in closed form, does not exceed, `q`, at a fraction of its cost.

        By :math:`\phi(u) + u\, \Phi(u) \le \max(u, 0) + \phi(u) / (1 + u^2)`, where the right side
        is at most half as large again, if not the gain is so rare that it counts for nothing.
        """
        gain, deviation = self._difference(X, compared)
        squares = (gain / deviation).square_()
        density = squares.mul(-0.5).exp_().mul_(deviation).div_(squares.add_(1))
        bound = gain.clamp_min_(0).add_(density, alpha=1 / math.sqrt(2 * math.pi))
        if self._is_affine:
            bound = bound + self._least(compared)
        total = self.conditioned.log_weights.exp() @ bound + _LEAST
        return total.log() + math.log(self.prior.output_scale)

    def _difference(self, X: Tensor, compared: Comparison) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, `C x q`, of what is gained over the incumbent."""
        if self._is_affine:
            compared = self._valued(X, compared)
        incumbent = compared.reference
        gain = compared.means - incumbent.means
        variance = compared.variances + (incumbent.variances + self._particular)
        variance = variance.sub(compared.shared, alpha=2)
        return gain, variance.clamp_min(self._floor).sqrt()

    def _valued(self, X: Tensor, compared: Comparison) -> Comparison:
        """The same of an affine objective's values, all less its shift at the incumbent."""
        shift, slope = self._line(X)
        own_shift, own_slope = self._line(self.incumbent.to(X).unsqueeze(0))
        incumbent = compared.reference
        return Comparison(
            means=slope * compared.means + (shift - own_shift),
            variances=slope.square() * compared.variances,
            shared=own_slope * slope * compared.shared,
            reference=Marginals(
                own_slope * incumbent.means, own_slope.square() * incumbent.variances
            ),
        )

    def _line(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and slope, `b`, of an affine objective against the response in model units.

        Both are over the scale of the output, so that the response itself has a slope of one.
        """
        scale, X = self.prior.output_scale, X.double()
        values = self._value(X.new_tensor(_PROBES).expand(1, len(X), -1), X)[0]
        shift, slope = values[:, 0], values[:, 1] - values[:, 0]
        expected = shift[:, None] + slope[:, None] * X.new_tensor(_PROBES)
        size = values.detach().abs().amax(-1, keepdim=True)
        if not bool(((values - expected).abs() <= _AFFINE * size).all()):
            raise ValueError(
                "the objective says that it is affine in the response, but it is not: leave out "
                "metabo.objective.affine"
            )
        return shift / scale, slope / scale

    def _by_draws(self, X: Tensor, compared: Comparison) -> Tensor:
        first, second = self.draws.T
        reference = compared.reference
        deviation = reference.variances.sqrt()
        slope = compared.shared / deviation
        # At the incumbent itself nothing is left.
        rest = (compared.variances - slope.square()).clamp_min(self._floor).sqrt()
        here = reference.means.unsqueeze(-1) + deviation.unsqueeze(-1) * first
        there = (
            compared.means.unsqueeze(-1) + slope.unsqueeze(-1) * first + rest.unsqueeze(-1) * second
        )
        incumbent = self._value(here, self.incumbent.to(X).unsqueeze(0))
        improvement = (self._value(there, X) - incumbent).clamp_min(0).mean(-1)
        return (self.conditioned.log_weights.exp() @ (improvement + self._least(compared))).log()

    def _least(self, compared: Comparison) -> Tensor:
        """An improvement, `C x q`, that only counts where there is no other.

        Then the point that least is known of is the best to see: the prior may be wrong.
        """
        return _FLOOR * compared.variances.clamp_min(self._floor).sqrt()

    def _value(self, values: Tensor, X: Tensor) -> Tensor:
        """The objective, `C x b x S`, of such responses in model units at X `b x 1 x d`."""
        assert self.objective is not None
        responses = self.prior.to_user(values).movedim(-1, 0)  # S x C x b
        points = X.squeeze(-2).expand(*responses.shape, X.shape[-1])
        return self.objective(responses.unsqueeze(-1), points).movedim(0, -1)


@lru_cache
@torch.inference_mode(False)
def _draws(seed: int) -> Tensor:
    """Quasi-random draws, `S x 2`, from the standard normal distribution."""
    engine = SobolEngine(2, scramble=True, seed=seed)
    uniform = engine.draw(_NUM_DRAWS, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
    return torch.special.ndtri(uniform)
