"""The few-shot surrogate: a mixture of exact Gaussian processes with a meta-learned prior."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

from botorch.acquisition.objective import PosteriorTransform, ScalarizedPosteriorTransform
from botorch.exceptions.errors import UnsupportedError
from botorch.models.model import FantasizeMixin, Model
from botorch.models.transforms.input import InputTransform
from botorch.models.transforms.outcome import OutcomeTransform
from botorch.models.utils.assorted import fantasize
from botorch.posteriors import Posterior
from botorch.sampling.base import MCSampler
from botorch.utils.datasets import SupervisedDataset
from gpytorch.constraints import Positive
from gpytorch.distributions import MultivariateNormal
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import MarginalLogLikelihood
from gpytorch.models import GP
from torch import Size, Tensor

from metabo.mixture import ConditionedMixture
from metabo.prior import Prior
from metabo.surrogates.conditioned_prior import ConditionedPrior
from metabo.surrogates.mixture_members import MixtureMembers
from metabo.surrogates.mixture_posterior import MixturePosterior
from metabo.surrogates.parameter_posterior import ParameterPosterior
from metabo.surrogates.training_data import (
    TrainingData,
    check_new_data,
    check_training_data,
    refuse_learned_scales,
)


class MixturePriorGP(Model, GP, FantasizeMixin):
    """A BoTorch model whose posterior is exact and in closed form; nothing is fitted on the task.

    Use it where you would use `SingleTaskGP`. Its posterior is a mixture: acquisition functions
    that work with samples see it whole, and those in closed form do with `members()`, or else take
    it for the one Gaussian with its moments (`posterior(X).distribution`). n = 0 is allowed: then
    the posterior is the prior. In a `ModelList` it stays a mixture; a `ModelListGP` takes its
    moments.

    The Prior knows the scales of X and Y, which must not be learned anew from a handful of
    observations. So `Normalize`, `InputStandardize` and `Standardize` are refused. A fixed
    transform is welcome if it leads to the Prior's units: an input transform such as
    `Normalize(..., reverse=True)` from the unit cube, an outcome transform such as `Log` where the
    Prior was trained on logarithms.

    Args:
        train_X: `batch_shape x n x d`, in the user's units; a categorical input is its index.
        train_Y: `batch_shape x n x 1`, in the user's units; larger is better.
        prior: From `metabo.meta_train` or `Prior.load`. It is not changed.
        train_Yvar: `batch_shape x n x 1`, known noise variances; the learned noise if None.
        input_transform: What leads from X to the Prior's inputs.
        outcome_transform: What leads from Y to the Prior's output.

    Raises:
        BotorchTensorDimensionError: If shapes do not fit.
        InputDataError: If the numbers are not floats of one precision, Y is not finite, or a
            variance is negative, infinite or missing.
        SpaceError: If X is outside the Prior's space.
        UnsupportedError: If a transform would learn a scale.
        ValueError: If Y is so large that its evidence overflows.
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        prior: Prior,
        train_Yvar: Tensor | None = None,
        *,
        input_transform: InputTransform | None = None,
        outcome_transform: OutcomeTransform | None = None,
    ) -> None:
        super().__init__()
        refuse_learned_scales(input_transform)
        refuse_learned_scales(outcome_transform)
        check_training_data(train_X, train_Y, train_Yvar)
        if input_transform is not None:
            self.input_transform = input_transform.to(train_X).eval()
        if outcome_transform is not None:
            outcome_transform = outcome_transform.to(train_X).eval()
            train_Y, train_Yvar = outcome_transform(train_Y, train_Yvar, X=train_X)
            self.outcome_transform = outcome_transform
            check_training_data(train_X, train_Y, train_Yvar)
        prior.space.check(self._preprocess(train_X), name="train_X")
        self._condition(TrainingData(train_X, train_Y, train_Yvar), prior, prior)
        self.eval()

    def _condition(self, data: TrainingData, prior: Prior, given: Prior) -> None:
        """Condition a Prior, of which components may be left out, on all observations.

        Args:
            data: The observations.
            prior: What is left.
            given: The Prior as it was given, whole.
        """
        prior = prior.to(data.X.device) if prior.device != data.X.device else prior
        self.data, self._given = data, given
        self.train_inputs = (data.X.expand(*data.Y.shape[:-1], data.X.shape[-1]),)
        self.train_targets = data.Y.squeeze(-1)
        self._conditioned_prior = ConditionedPrior(prior, data, self._preprocess(data.X))
        self.__dict__.pop("likelihood", None)

    @property
    def prior(self) -> Prior:
        """What is left of the Prior, where many observations rule out some of it."""
        return self._conditioned_prior.prior

    @property
    def conditioned(self) -> ConditionedMixture:
        """The posterior mixture, in model units."""
        return self._conditioned_prior.mixture

    def _preprocess(self, X: Tensor) -> Tensor:
        transform = getattr(self, "input_transform", None)
        return X if transform is None else transform.preprocess_transform(X)

    @cached_property
    def likelihood(self) -> GaussianLikelihood:
        """For code that builds a marginal log likelihood around any model; there is no fitting."""
        likelihood = GaussianLikelihood(noise_constraint=Positive(), batch_shape=self.batch_shape)
        likelihood = likelihood.to(self.train_targets)
        likelihood.noise = self._conditioned_prior.noise.to(self.train_targets)
        return likelihood.requires_grad_(False)

    def _set_transformed_inputs(self) -> None:
        """Nothing: the training inputs stay in the user's units."""

    def _revert_to_original_inputs(self) -> None:
        """Likewise."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `double`, `cuda` and the like call: the observations move along."""
        super()._apply(fn, recurse)
        self._condition(self.data.apply(fn), self.prior, self._given)
        return self

    @classmethod
    def construct_inputs(  # type: ignore[override]
        cls, training_data: SupervisedDataset, *, prior: Prior, **transforms: Any
    ) -> dict[str, Any]:
        """The arguments of the constructor, from a data set and Ax's model options."""
        return super().construct_inputs(training_data) | {"prior": prior} | transforms

    def get_extra_state(self) -> str:
        """Which Prior it is, for `state_dict`."""
        return self._given.digest

    def set_extra_state(self, state: str) -> None:
        """Refuse the state of a model with another Prior, which predicts otherwise."""
        if state != self._given.digest:
            raise ValueError(
                "this state_dict is of a model with another Prior: build the model with that "
                "Prior, and with_fitted_broad() where it was used"
            )

    @property
    def num_outputs(self) -> int:
        """One."""
        return 1

    @property
    def batch_shape(self) -> Size:
        """The batch dimensions of the observations."""
        return self.train_targets.shape[:-1]

    @property
    def log_evidence(self) -> Tensor:
        """The log density, `batch_shape`, of Y under the Prior.

        In the user's units, or after the outcome transform if there is one.
        """
        return self._conditioned_prior.log_evidence

    @property
    def prior_weight(self) -> Tensor:
        """The probability, `batch_shape`, that the task belongs to the Prior's family."""
        return self._conditioned_prior.weight

    def posterior(  # type: ignore[override]
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """The predictive mixture at X, in the user's units.

        Args:
            X: `batch_shape x q x d`, in the user's units.
            output_indices: `[0]` or None.
            observation_noise: True adds the learned noise, or the mean of the known; a tensor
                `... x q x 1` adds these variances, in the outcome transform's units.
            posterior_transform: Applied to the result. A `ScalarizedPosteriorTransform` leaves it a
                mixture; others take its moments.
        """
        _check_output_indices(output_indices)
        posterior: Posterior = self.mixture_posterior(
            X, self._conditioned_prior.likely, observation_noise
        )
        if hasattr(self, "outcome_transform"):
            posterior = self.outcome_transform.untransform_posterior(posterior, X=X)
        if posterior_transform is None:
            return posterior
        if isinstance(posterior, MixturePosterior) and type(posterior_transform) is (
            ScalarizedPosteriorTransform
        ):
            weight = float(posterior_transform.get_buffer("weights"))
            return posterior.affine(weight, posterior_transform.offset)
        return posterior_transform(posterior=posterior, X=X)

    def encode(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Features and encoded inputs, in double precision, of test points `... x q x d`."""
        return self.prior.encode(self.transform_inputs(X).double())

    def mixture_posterior(
        self, X: Tensor, conditioned: ConditionedMixture, observation_noise: bool | Tensor
    ) -> MixturePosterior:
        """The posterior before transforms, of all components or of some; arguments as above."""
        return self._conditioned_prior.posterior(self.encode(X), conditioned, observation_noise)

    def with_fitted_broad(self) -> MixturePriorGP:
        """The model with one more broad component: an ordinary GP fitted to these observations.

        It is what to go on with when `prior_weight` says that the task is not of the family. The
        fit, by the marginal likelihood, takes about as long as that of a vanilla GP.

        Raises:
            UnsupportedError: If the model is batched, has fewer than two observations, or no broad
                component.
        """
        prior = self._conditioned_prior.with_fitted_broad()
        return self._rebuilt(self.data, prior, prior)

    def alone(self) -> MixturePriorGP:
        """An ordinary GP fitted to these observations, as if the task were not of the family.

        Raises:
            UnsupportedError: As of `with_fitted_broad`.
        """
        if not bool(self.prior.mixture.is_broad.any()):
            raise UnsupportedError("alone() needs a Prior with broad components")
        prior = self.prior.only_broad()
        return self._rebuilt(self.data, prior, prior).with_fitted_broad()

    def parameter_posterior(self) -> ParameterPosterior:
        """What the observations say of the parameters of a family in closed form.

        Raises:
            UnsupportedError: If the family has no known parameters.
        """
        return ParameterPosterior.of(self.prior, self.conditioned)

    def leave_one_out(self) -> MixturePosterior:
        """What the other observations say of each one, `batch_shape x n x 1 x 1`, noise included.

        In closed form, as BoTorch's `efficient_loo_cv` does for one Gaussian; before the outcome
        transform is undone.
        """
        return self._conditioned_prior.leave_one_out()

    def members(self, num_members: int = 64) -> MixtureMembers:
        """The mixture as equally likely members, which BoTorch averages an acquisition value over.

        Args:
            num_members: How many; a component gets its share of them to within one.

        Raises:
            UnsupportedError: If the model is batched, or has an outcome transform.
        """
        return MixtureMembers(self, num_members)

    def condition_on_observations(
        self, X: Tensor, Y: Tensor, noise: Tensor | None = None, **kwargs: Any
    ) -> MixturePriorGP:
        """The model after more observations; the weights of the components move with the evidence.

        Args:
            X: `batch_shape x n' x d`.
            Y: `batch_shape' x n' x 1`, with at least the batch dimensions of X.
            noise: `batch_shape' x n' x 1`, known variances, in the outcome transform's units; if
                None the learned noise, or the mean of the known.
            kwargs: Not used.

        Raises:
            BotorchTensorDimensionError: If shapes do not fit.
            InputDataError: If Y is not finite, or a variance is negative, infinite or missing.
            SpaceError: If X is outside the Prior's space.
        """
        # Fantasies are of the model itself, and may be at points between the legal ones.
        if fantasize.off():
            check_new_data(X, Y, noise)
            self.prior.space.check(self._preprocess(X))
        if hasattr(self, "outcome_transform"):
            Y, _ = self.outcome_transform(Y, X=X)
        return self._rebuilt(self.data.extended(X, Y, noise), self.prior, self._given)

    def _rebuilt(self, data: TrainingData, prior: Prior, given: Prior) -> MixturePriorGP:
        """A model with the same transforms; arguments as of `_condition`."""
        model = type(self).__new__(type(self))
        super(MixturePriorGP, model).__init__()
        for name in ("input_transform", "outcome_transform"):
            if hasattr(self, name):
                setattr(model, name, getattr(self, name))
        model._condition(data, prior, given)
        return model.eval()

    def fantasize(
        self,
        X: Tensor,
        sampler: MCSampler,
        observation_noise: Tensor | None = None,
        **kwargs: Any,
    ) -> Self:
        """The model after observations, `num_fantasies x batch_shape`, that it draws itself.

        Args:
            X: `batch_shape x n' x d`.
            sampler: Draws them.
            observation_noise: Their noise variances, `batch_shape x 1 x 1`; the learned noise, or
                the mean of the known, if None.
            kwargs: As of `FantasizeMixin`.
        """
        if observation_noise is None:
            observation_noise = self.data.mean_known_noise
        return super().fantasize(X, sampler, observation_noise, **kwargs)

    def subset_output(self, idcs: list[int]) -> MixturePriorGP:
        """The model itself, for `[0]`: it has one output."""
        _check_output_indices(idcs)
        return self

    def custom_fit(self, mll: MarginalLogLikelihood, **kwargs: Any) -> MarginalLogLikelihood:
        """What `fit_gpytorch_mll` calls: the posterior is exact already, so nothing happens."""
        return mll.eval()

    def __call__(self, X: Tensor) -> MultivariateNormal:
        """The Gaussian with the posterior's moments, `batch_shape x q`, for code that wants one."""
        return self.mixture_posterior(X, self._conditioned_prior.likely, False).distribution

    def forward(self, X: Tensor) -> MultivariateNormal:
        """What would be the prior, if it were one Gaussian.

        Raises:
            UnsupportedError: Always; code such as `efficient_loo_cv` ends here.
        """
        raise UnsupportedError(
            "a mixture has no Gaussian prior: it needs no fitting, and leave_one_out() takes the "
            "place of efficient_loo_cv()"
        )


def _check_output_indices(indices: list[int] | None) -> None:
    if indices is not None and list(indices) not in ([0], [-1]):
        raise ValueError(f"the model has one output, index 0; got {indices}")
