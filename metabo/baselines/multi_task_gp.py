"""BoTorch's `MultiTaskGP` over earlier runs and the task: the intrinsic coregionalisation model.

One kernel over inputs times a learned covariance between tasks [Bonilla2007]_, with a mean and a
noise for each task. Earlier tasks are standardised; the new one is moved by their average offset
and scale, since the few points that a search has chosen say little about either.

.. [Bonilla2007] E. V. Bonilla, K. M. A. Chai, C. K. I. Williams. Multi-task Gaussian Process
   Prediction. NeurIPS 2007.
"""

from __future__ import annotations

import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import MultiTaskGP
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Tensor
from torch.distributions import Normal

from metabo.baselines.earlier_runs import EarlierRuns
from metabo.baselines.improvement_search import ImprovementSearch, exact_marginals
from metabo.baselines.portfolio import portfolio
from metabo.baselines.refitted_gp import is_due
from metabo.baselines.vanilla_gp import quiet
from metabo.objective import Objective

_FIRST_FIT, _NEXT_FITS = 200, 30  # iterations; a later fit goes on from where the last one ended
_WIDTH = 12**0.5  # of an encoded input; BoTorch's priors are meant for inputs of width one


class MultiTaskSearch(ImprovementSearch):
    """Bayesian optimisation with the multi-task model; the first point served earlier tasks best.

    Args:
        runs: The earlier runs, of which at most 20 tasks and 140 observations in equal parts.
        candidates: As in `CandidateSearch`.
        objective: What to maximise; the response itself if None.
        seed: Of the draws if there is an objective.
    """

    def __init__(
        self,
        runs: EarlierRuns,
        candidates: Tensor,
        *,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(runs.space, candidates, objective=objective, seed=seed)
        self._initial = portfolio(runs.objective_values(self.candidates, objective), 1)
        tasks = runs.small_sample()
        self._earlier_X = torch.cat([self._with(i, task.X) for i, task in enumerate(tasks)])
        self._earlier_Y = torch.cat([task.Y for task in tasks])
        self._own = len(tasks)
        self.offset, self.scale = runs.average_units
        self._last: MultiTaskGP | None = None

    def _with(self, task: int, X: Tensor) -> Tensor:
        """Encoded points with the number of their task, `n x (e + 1)`."""
        return torch.cat([self.space.encode(X) / _WIDTH, X.new_full((len(X), 1), task)], -1)

    def scores(self, indices: Tensor) -> Tensor:
        """The initial point, then the expected improvement."""
        if len(self.Y) == 0:
            return (indices == self._initial[0]).double()
        return super().scores(indices)

    def predict(self, indices: Tensor) -> Normal:
        """The posterior of the task itself, in the user's units."""
        model = self.model()
        with torch.no_grad(), quiet():
            found = exact_marginals(model, self._with(self._own, self.candidates[indices]))
        return Normal(self.offset + self.scale * found.mean, self.scale * found.stddev)

    def model(self) -> MultiTaskGP:
        """The model of all observations; hyperparameters are fitted less and less often."""
        # The covariance between tasks begins with random numbers.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self._model()

    def _model(self) -> MultiTaskGP:
        X = torch.cat([self._earlier_X, self._with(self._own, self.X)])
        Y = torch.cat([self._earlier_Y, (self.Y - self.offset) / self.scale])
        model = MultiTaskGP(X, Y, task_feature=-1, output_tasks=[self._own], outcome_transform=None)
        if self._last is not None:
            model.load_state_dict(dict(self._last.named_parameters()), strict=False)
        if self._last is None or is_due(len(self.Y)):
            options = {"maxiter": _FIRST_FIT if self._last is None else _NEXT_FITS}
            with quiet(), torch.enable_grad():
                fit_gpytorch_mll(
                    ExactMarginalLogLikelihood(model.likelihood, model),
                    optimizer_kwargs={"options": options},
                )
        self._last = model
        model.eval()
        return model
