"""`MixturePriorGP` and all that BoTorch asks of a model."""

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from botorch.acquisition.objective import (
    ExpectationPosteriorTransform,
    ScalarizedPosteriorTransform,
)
from botorch.cross_validation import (
    batch_cross_validation,
    efficient_loo_cv,
    gen_loo_cv_folds,
)
from botorch.exceptions.errors import (
    BotorchTensorDimensionError,
    InputDataError,
    UnsupportedError,
)
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.model import ModelList
from botorch.models.transforms.input import InputPerturbation, InputStandardize, Normalize
from botorch.models.transforms.outcome import ChainedOutcomeTransform, Log, Standardize
from botorch.posteriors import PosteriorList
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.datasets import SupervisedDataset
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Size, Tensor

from metabo.prior import Prior
from metabo.space import SpaceError
from metabo.surrogates import MixturePosterior, MixturePriorGP
from metabo.warp import Warp

Observe = Callable[..., tuple[Tensor, Tensor]]
BATCHES = [(), (2,), (3, 2)]
DTYPES = [torch.float32, torch.float64]


def same(a: MixturePriorGP, b: MixturePriorGP, X: Tensor, tolerance: float = 1e-8) -> None:
    p, q = a.posterior(X), b.posterior(X)
    torch.testing.assert_close(p.mean, q.mean, rtol=tolerance, atol=tolerance)
    covariances = p.covariance_matrix, q.covariance_matrix
    torch.testing.assert_close(*covariances, rtol=tolerance, atol=tolerance)


@pytest.fixture
def model(prior: Prior, observe: Observe) -> MixturePriorGP:
    return MixturePriorGP(*observe(prior, 5), prior)


class TestPosterior:
    @pytest.mark.parametrize(("batch", "dtype", "n"), list(product(BATCHES, DTYPES, [0, 3])))
    def test_shapes_and_dtypes(
        self, prior: Prior, observe: Observe, batch: Size, dtype: torch.dtype, n: int
    ) -> None:
        X, Y = observe(prior, math.prod(batch) * n)
        X, Y = X.reshape(*batch, n, 2).to(dtype), Y.reshape(*batch, n, 1).to(dtype)
        for Yvar in (None, torch.full_like(Y, 0.01)):
            model = MixturePriorGP(X, Y, prior, Yvar)
            assert model.batch_shape == batch
            assert model.num_outputs == 1
            assert model.log_evidence.shape == model.prior_weight.shape == batch
            for shape in ((4, 2), (*batch, 4, 2), (3, *batch, 4, 2), (5, *[1] * len(batch), 4, 2)):
                test_X = prior.space.sample(4, seed=1).to(dtype).expand(shape)
                expected = torch.broadcast_shapes(shape[:-2], batch)
                for noise in (False, True, torch.full((*shape[:-1], 1), 0.1, dtype=dtype)):
                    posterior = model.posterior(test_X, observation_noise=noise)
                    assert posterior.mean.shape == posterior.variance.shape == (*expected, 4, 1)
                    assert posterior.mean.dtype == posterior.variance.dtype == dtype
                    assert bool((posterior.variance > 0).all())
                    assert posterior.covariance_matrix.shape == (*expected, 4, 4)
                    samples = posterior.rsample(Size([2]))
                    assert samples.shape == (2, *expected, 4, 1)
                    assert samples.dtype == dtype

    def test_single_precision_agrees_with_double(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(5, seed=1)
        exact = model.posterior(X)
        single = model.to(torch.float32).posterior(X.float())
        torch.testing.assert_close(single.mean.double(), exact.mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(single.variance.double(), exact.variance, rtol=1e-3, atol=1e-4)

    def test_no_observations_give_the_prior_in_user_units(
        self, make_prior: Callable[..., Prior]
    ) -> None:
        prior = make_prior(num_components=1, offset=3.0, scale=2.0)
        X = prior.space.sample(4, seed=0)
        posterior = MixturePriorGP(X[:0], X[:0, :1], prior).posterior(X)
        points = prior.encode(X)
        torch.testing.assert_close(
            posterior.mean.squeeze(-1), 3.0 + 2.0 * prior.mixture.mean(points[0])[0]
        )
        covariance = 4.0 * prior.mixture.covariance(points, points)[0]
        torch.testing.assert_close(posterior.covariance_matrix, covariance)

    def test_units_of_the_output_do_not_matter(
        self, make_prior: Callable[..., Prior], observe: Observe
    ) -> None:
        one = make_prior(offset=3.0, scale=2.0)
        X, Y = observe(one, 5)
        test_X = one.space.sample(4, seed=1)
        expected = MixturePriorGP(X, Y, one)
        other = make_prior(offset=3e9, scale=2e9)
        found = MixturePriorGP(X, 1e9 * Y, other)
        torch.testing.assert_close(
            found.posterior(test_X).mean, 1e9 * expected.posterior(test_X).mean
        )
        torch.testing.assert_close(
            found.posterior(test_X).variance, 1e18 * expected.posterior(test_X).variance
        )
        shift = 5 * torch.tensor(1e9, dtype=torch.float64).log()
        torch.testing.assert_close(found.log_evidence, expected.log_evidence - shift)

    def test_observation_noise(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(4, seed=1)
        quiet, scale = model.posterior(X), model.prior.output_scale
        noise = (quiet.weights * model.conditioned.likely().mixture.noises).sum(
            -1, keepdim=True
        ) * scale**2
        noisy = model.posterior(X, observation_noise=True)
        torch.testing.assert_close(noisy.variance, quiet.variance + noise)
        assert torch.equal(noisy.mean, quiet.mean)
        given = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).unsqueeze(-1)
        given_noise = model.posterior(X, observation_noise=given)
        torch.testing.assert_close(given_noise.variance, quiet.variance + given)
        extra = given_noise.covariance_matrix - quiet.covariance_matrix
        torch.testing.assert_close(extra, given.squeeze(-1).diag())

    def test_known_noise_is_used_and_its_mean_is_that_of_new_observations(
        self, prior: Prior, observe: Observe
    ) -> None:
        X, Y = observe(prior, 4)
        Yvar = torch.tensor([0.1, 0.2, 0.3, 10.0], dtype=torch.float64).unsqueeze(-1)
        model = MixturePriorGP(X, Y, prior, Yvar)
        sure = MixturePriorGP(X[:3], Y[:3], prior, Yvar[:3])
        unsure = MixturePriorGP(X, Y, prior, torch.cat([Yvar[:3], torch.full((1, 1), 1e9)]))
        same(unsure, sure, X, tolerance=1e-6)
        quiet, noisy = model.posterior(X), model.posterior(X, observation_noise=True)
        torch.testing.assert_close(noisy.variance, quiet.variance + Yvar.mean())

    def test_gradients_in_the_inputs(self, model: MixturePriorGP) -> None:
        def moments(X: Tensor) -> tuple[Tensor, ...]:
            posterior = model.posterior(X)
            value = posterior.mean.detach() * 0 + 4.0
            return posterior.mean, posterior.variance, posterior.log_density(value)

        X = model.prior.space.sample(3, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(moments, (X,), atol=1e-5)

    def test_gradients_are_finite_at_training_points(self, model: MixturePriorGP) -> None:
        X = model.train_inputs[0].clone().requires_grad_()
        posterior = model.posterior(X)
        (posterior.mean.sum() + posterior.variance.sqrt().sum()).backward()
        assert X.grad is not None
        assert X.grad.isfinite().all()

    def test_scalarised_posterior_stays_a_mixture(self, model: MixturePriorGP) -> None:
        X, weights = model.prior.space.sample(3, seed=1), torch.tensor([-2.0]).double()
        transform = ScalarizedPosteriorTransform(weights, offset=1.0)
        plain = model.posterior(X)
        mapped = model.posterior(X, posterior_transform=transform)
        assert isinstance(mapped, MixturePosterior)
        torch.testing.assert_close(mapped.mean, 1.0 - 2.0 * plain.mean)
        torch.testing.assert_close(mapped.variance, 4.0 * plain.variance)

    def test_other_transforms_take_the_moments(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(4, seed=1)
        plain = model.posterior(X)
        mean = model.posterior(X, posterior_transform=ExpectationPosteriorTransform(n_w=2))
        torch.testing.assert_close(mean.mean, plain.mean.reshape(2, 2, 1).mean(1))
        average = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]).double()
        expected = average @ plain.covariance_matrix @ average.T
        torch.testing.assert_close(mean.distribution.covariance_matrix, expected)

    def test_outputs(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(2, seed=1)
        expected = model.posterior(X).mean
        assert torch.equal(model.posterior(X, output_indices=[0]).mean, expected)
        assert torch.equal(model.subset_output([0]).posterior(X).mean, expected)
        assert torch.equal(model(X).mean, expected.squeeze(-1))
        for wrong in ([1], [0, 0], []):
            with pytest.raises(ValueError, match="one output"):
                model.subset_output(wrong)
            with pytest.raises(ValueError, match="one output"):
                model.posterior(X, output_indices=wrong)

    def test_mixed_inputs(self, mixed_prior: Prior, observe: Observe) -> None:
        X, Y = observe(mixed_prior, 6)
        model = MixturePriorGP(X, Y, mixed_prior)
        here = X[:1].clone()
        there = here.clone()
        there[0, 2] = (here[0, 2] + 1) % 3
        posterior = model.posterior(torch.cat([here, there]))
        assert posterior.variance[0] < posterior.variance[1]

    def test_of_no_points_and_samples_of_no_shape(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(3, seed=1)
        assert model.posterior(X[:0]).mean.shape == (0, 1)
        posterior = model.posterior(X)
        assert posterior.rsample(Size()).shape == (3, 1)
        assert SobolQMCNormalSampler(Size([]), seed=0)(posterior).shape == (3, 1)


class TestConditioning:
    def test_fantasies_share_one_factor(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(12, seed=3).reshape(4, 3, 2)
        fantasy = model.fantasize(X, SobolQMCNormalSampler(Size([16]), seed=0))
        assert fantasy.batch_shape == (16, 4)
        assert fantasy.conditioned.factor.shape[0] == 4  # not 16 times that
        test_X = model.prior.space.sample(5, seed=4)
        together = fantasy.posterior(test_X)
        assert together.mean.shape == (16, 4, 5, 1)
        one = model.condition_on_observations(X[2], fantasy.train_targets[7, 2, 5:, None])
        torch.testing.assert_close(together.mean[7, 2], one.posterior(test_X).mean)
        torch.testing.assert_close(together.variance[7, 2], one.posterior(test_X).variance)

    @pytest.mark.parametrize(
        ("batch", "known", "warp"),
        list(product([(), (2,)], [False, True], [None, Warp(3.0, 2.0, 0.3, 0.7)])),
    )
    def test_fantasies_are_models_one_by_one(
        self, prior: Prior, observe: Observe, batch: tuple[int, ...], known: bool, warp: Warp | None
    ) -> None:
        prior = replace(prior, warp=warp)
        X, Y = observe(prior, 3)
        Yvar = torch.full_like(Y, 0.01) if known else None
        new = prior.space.sample(2 * math.prod(batch), seed=5).reshape(*batch, 2, 2)
        sampler = SobolQMCNormalSampler(Size([4]), seed=0)
        fantasy = MixturePriorGP(X, Y, prior, Yvar).fantasize(new, sampler)
        (all_X,), all_Y = fantasy.train_inputs, fantasy.train_targets.unsqueeze(-1)
        whole = MixturePriorGP(all_X, all_Y, prior, torch.full_like(all_Y, 0.01) if known else None)
        torch.testing.assert_close(fantasy.log_evidence, whole.log_evidence)
        test_X = prior.space.sample(3, seed=4)
        ones = (1,) * len(batch)
        for shape in ((), batch, (4, *batch), (5, 4, *batch), (5, 4, *ones), (4, *ones)):
            points = test_X.expand(*shape, 3, 2)
            found, expected = fantasy.posterior(points), whole.posterior(points)
            for name in ("mean", "variance", "covariance_matrix"):
                torch.testing.assert_close(getattr(found, name), getattr(expected, name))
            assert found.rsample(Size([2])).shape == (2, *expected.mean.shape)
        alone, every = fantasy.leave_one_out(), whole.leave_one_out()
        torch.testing.assert_close(alone.mean, every.mean)
        torch.testing.assert_close(alone.variance, every.variance)
        for some, other in zip(fantasy.conditioned.heads(), whole.conditioned.heads(), strict=True):
            torch.testing.assert_close(some, other)

    @pytest.mark.parametrize(("n", "known"), list(product([0, 4], [False, True])))
    def test_conditioning_is_rebuilding(
        self, prior: Prior, observe: Observe, n: int, known: bool
    ) -> None:
        X, Y = observe(prior, n + 3)
        Yvar = torch.linspace(0.01, 0.1, n + 3).double().unsqueeze(-1) if known else None
        old, new = (None, None) if Yvar is None else (Yvar[:n], Yvar[n:])
        part = MixturePriorGP(X[:n], Y[:n], prior, old)
        more = part.condition_on_observations(X[n:], Y[n:], noise=new)
        rebuilt = MixturePriorGP(X, Y, prior, Yvar)
        test_X = prior.space.sample(5, seed=8)
        same(more, rebuilt, test_X)
        torch.testing.assert_close(more.prior_weight, rebuilt.prior_weight, rtol=1e-8, atol=0)
        torch.testing.assert_close(more.log_evidence, rebuilt.log_evidence, rtol=1e-8, atol=0)
        assert type(more) is MixturePriorGP
        assert part.train_targets.shape == (n,)

    def test_weights_move_with_the_evidence(self, prior: Prior, observe: Observe) -> None:
        X, Y = observe(prior, 2)
        model = MixturePriorGP(X, Y, prior)
        strange = model.condition_on_observations(*(v + 0 for v in observe(prior, 10, seed=3)))
        assert not torch.allclose(strange.conditioned.log_weights, model.conditioned.log_weights)

    def test_known_noise_for_new_observations_only(self, model: MixturePriorGP) -> None:
        X, Y = model.prior.space.sample(1, seed=3), torch.full((1, 1), 9.0).double()
        exact = model.condition_on_observations(X, Y, noise=torch.full((1, 1), 1e-8).double())
        assert exact.posterior(X).mean == pytest.approx(9.0, abs=1e-4)
        vague = model.condition_on_observations(X, Y, noise=torch.full((1, 1), 1e8).double())
        same(vague, model, X, tolerance=1e-5)
        again = exact.condition_on_observations(X, Y)
        assert again.data.Yvar is not None
        assert again.data.Yvar.isnan().sum() == 6

    @pytest.mark.parametrize(("batch", "fantasies"), list(product(BATCHES, [(), (4,)])))
    def test_batches_of_new_observations(
        self, model: MixturePriorGP, batch: tuple[int, ...], fantasies: tuple[int, ...]
    ) -> None:
        X = model.prior.space.sample(2, seed=3).expand(*batch, 2, 2)
        generator = torch.Generator().manual_seed(0)
        Y = torch.randn(*fantasies, *batch, 2, 1, generator=generator).double()
        more = model.condition_on_observations(X, Y)
        assert more.batch_shape == (*fantasies, *batch)
        posterior = more.posterior(model.prior.space.sample(3, seed=4))
        assert posterior.mean.shape == (*fantasies, *batch, 3, 1)
        index = tuple(0 for _ in (*fantasies, *batch))
        one = model.condition_on_observations(X[(0,) * len(batch)], Y[index])
        expected = one.posterior(model.prior.space.sample(3, seed=4))
        torch.testing.assert_close(posterior.mean[index], expected.mean, rtol=1e-6, atol=1e-6)

    def test_batched_model_with_common_observations(self, prior: Prior, observe: Observe) -> None:
        tasks = [observe(prior, 3, seed=seed) for seed in range(2)]
        X, Y = (torch.stack(values) for values in zip(*tasks, strict=True))
        new = observe(prior, 2, seed=9)
        more = MixturePriorGP(X, Y, prior).condition_on_observations(*new)
        alone = MixturePriorGP(X[1], Y[1], prior).condition_on_observations(*new)
        test_X = prior.space.sample(3, seed=4)
        torch.testing.assert_close(more.posterior(test_X).mean[1], alone.posterior(test_X).mean)

    @pytest.mark.parametrize(("batch", "known"), list(product(BATCHES, [False, True])))
    def test_fantasies(
        self, prior: Prior, observe: Observe, batch: tuple[int, ...], known: bool
    ) -> None:
        X, Y = observe(prior, 3)
        model = MixturePriorGP(X, Y, prior, torch.full_like(Y, 0.01) if known else None)
        new = prior.space.sample(2, seed=5).expand(*batch, 2, 2)
        fantasy = model.fantasize(new, SobolQMCNormalSampler(Size([4]), seed=0))
        assert fantasy.batch_shape == (4, *batch)
        assert fantasy.train_targets.shape == (4, *batch, 5)
        posterior = fantasy.posterior(prior.space.sample(3, seed=4).expand(*batch, 3, 2))
        assert posterior.mean.shape == (4, *batch, 3, 1)
        empty = model.fantasize(new[..., :0, :], SobolQMCNormalSampler(Size([4]), seed=0))
        assert empty.posterior(X).mean.shape == (4, *batch, 3, 1)

    def test_fantasies_keep_the_mean(self, model: MixturePriorGP) -> None:
        X, test_X = model.prior.space.sample(1, seed=5), model.prior.space.sample(3, seed=4)
        fantasy = model.fantasize(X, SobolQMCNormalSampler(Size([4096]), seed=0))
        mean = fantasy.posterior(test_X).mean.mean(0)
        torch.testing.assert_close(mean, model.posterior(test_X).mean, rtol=0, atol=0.01)

    def test_gradients_flow_through_fantasies(self, model: MixturePriorGP) -> None:
        sampler = SobolQMCNormalSampler(Size([2]), seed=0)
        test_X = model.prior.space.sample(2, seed=4)

        def after(X: Tensor) -> Tensor:
            return model.fantasize(X, sampler).posterior(test_X).mean

        X = model.prior.space.sample(1, seed=5).requires_grad_()
        assert torch.autograd.gradcheck(after, (X,), atol=1e-4)


class TestTransforms:
    def test_input_transform_leads_to_the_units_of_the_prior(self, model: MixturePriorGP) -> None:
        prior = model.prior
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        low, high = prior.space.bounds
        unit, test_X = (X - low) / (high - low), prior.space.sample(4, seed=1)
        to_units = Normalize(2, bounds=prior.space.bounds, reverse=True)
        inside = MixturePriorGP(unit, Y, prior, input_transform=to_units)
        found = inside.posterior((test_X - low) / (high - low))
        torch.testing.assert_close(found.mean, model.posterior(test_X).mean)
        assert torch.equal(inside.train_inputs[0], unit)
        more = inside.condition_on_observations(unit[:1], Y[:1])
        expected = model.condition_on_observations(X[:1], Y[:1])
        torch.testing.assert_close(more.posterior(unit).variance, expected.posterior(X).variance)

    def test_input_perturbation_repeats_test_points_only(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        shifts = torch.tensor([[0.0, 0.0], [0.1, 0.0]]).double()
        perturbed = MixturePriorGP(X, Y, model.prior, input_transform=InputPerturbation(shifts))
        assert perturbed.posterior(X).mean.shape == (10, 1)
        torch.testing.assert_close(perturbed.posterior(X).mean[::2], model.posterior(X).mean)

    def test_outcome_transform_leads_to_the_units_of_the_prior(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        logs = MixturePriorGP(X, Y.exp(), model.prior, outcome_transform=Log())
        torch.testing.assert_close(logs.train_targets, model.train_targets)
        sampler = SobolQMCNormalSampler(Size([8]), seed=0)
        found, expected = sampler(logs.posterior(X)), sampler(model.posterior(X)).exp()
        torch.testing.assert_close(found, expected)
        more = logs.condition_on_observations(X[:1], Y[:1].exp())
        torch.testing.assert_close(more.train_targets[-1], Y[0, 0])

    @pytest.mark.parametrize(
        "transforms",
        [
            {"outcome_transform": Standardize(m=1)},
            {"outcome_transform": ChainedOutcomeTransform(log=Log(), scale=Standardize(m=1))},
            {"input_transform": Normalize(2)},
            {"input_transform": InputStandardize(2)},
        ],
    )
    def test_scales_that_would_be_learned_anew_are_refused(
        self, model: MixturePriorGP, transforms: dict[str, torch.nn.Module]
    ) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        with pytest.raises(UnsupportedError, match="leave it out"):
            MixturePriorGP(X, Y, model.prior, **transforms)


class TestModule:
    def test_copies_predict_alike(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(4, seed=1)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other.posterior(X).mean, model.posterior(X).mean)
            assert torch.equal(other.posterior(X).variance, model.posterior(X).variance)

    def test_state_of_a_rebuilt_model(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        rebuilt = MixturePriorGP(X, Y, model.prior)
        rebuilt.load_state_dict(model.state_dict())
        same(rebuilt, model, X, tolerance=0)

    def test_state_of_a_model_with_another_prior_is_refused(
        self, model: MixturePriorGP, make_prior: Callable[..., Prior]
    ) -> None:
        other = make_prior(seed=1)
        empty = other.space.sample(1, seed=0)[:0]
        with pytest.raises(ValueError, match="another Prior"):
            MixturePriorGP(empty, empty[:, :1], other).load_state_dict(model.state_dict())

    def test_state_of_what_predicts_otherwise_is_refused(
        self, make_prior: Callable[..., Prior], observe: Observe
    ) -> None:
        prior = make_prior(broad=0.2)
        X, Y = observe(prior, 8)
        model = MixturePriorGP(X, 50 * Y, prior)
        for other in (model.with_fitted_broad(), MixturePriorGP(X, Y, prior.negated())):
            with pytest.raises(ValueError, match="another Prior"):
                model.load_state_dict(other.state_dict())

    def test_construct_inputs(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        names = {"feature_names": ["a", "b"], "outcome_names": ["y"]}
        for Yvar in (None, torch.full_like(Y, 0.01)):
            data = SupervisedDataset(X, Y, Yvar=Yvar, **names)
            built = MixturePriorGP(**MixturePriorGP.construct_inputs(data, prior=model.prior))
            same(built, MixturePriorGP(X, Y, model.prior, Yvar), X, tolerance=0)

    def test_fitting_is_harmless(self, model: MixturePriorGP) -> None:
        X = model.prior.space.sample(4, seed=1)
        before = model.posterior(X).mean
        network = [layer.clone() for layer in model.prior.network.layers]
        mll = ExactMarginalLogLikelihood(model.likelihood, model)
        assert fit_gpytorch_mll(mll) is mll
        assert not model.training
        assert torch.equal(model.posterior(X).mean, before)
        for layer, old in zip(model.prior.network.layers, network, strict=True):
            assert torch.equal(layer, old)
        assert not [p for p in model.parameters() if p.requires_grad]

    def test_prior_stays_in_double_precision(self, model: MixturePriorGP) -> None:
        model.float()
        assert model.train_inputs[0].dtype == model.train_targets.dtype == torch.float32
        assert model.prior.network.layers[0].dtype == torch.float64
        assert model.prior.mixture.means.dtype == torch.float64
        model.train()
        model.eval()
        assert model.posterior(model.train_inputs[0]).mean.dtype == torch.float32

    def test_lists_of_models(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        other = SingleTaskGP(X, Y, input_transform=Normalize(2))
        test_X = model.prior.space.sample(3, seed=1)
        together = ModelList(model, other).posterior(test_X)
        assert isinstance(together, PosteriorList)
        assert together.rsample(Size([5])).shape == (5, 3, 2)
        torch.testing.assert_close(together.mean[:, :1], model.posterior(test_X).mean)
        pair = ModelListGP(model, other)
        assert pair.num_outputs == 2
        gaussian = pair.posterior(test_X)
        torch.testing.assert_close(gaussian.mean, together.mean)
        torch.testing.assert_close(gaussian.variance, together.variance)
        assert pair.subset_output([0]) is model
        sampler = SobolQMCNormalSampler(Size([2]), seed=0)
        fantasy = ModelList(model, model).fantasize(test_X, sampler)
        assert fantasy.posterior(X).mean.shape == (2, 5, 2)

    def test_cross_validation(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        results = batch_cross_validation(
            MixturePriorGP,
            ExactMarginalLogLikelihood,
            gen_loo_cv_folds(X, Y),
            observation_noise=True,
            model_init_kwargs={"prior": model.prior},
        )
        closed = model.leave_one_out()
        assert closed.mean.shape == (5, 1, 1)
        torch.testing.assert_close(closed.mean, results.posterior.mean)
        torch.testing.assert_close(closed.variance, results.posterior.variance)
        with pytest.raises(UnsupportedError, match="leave_one_out"):
            efficient_loo_cv(model)


class TestBadInput:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_output_that_is_not_finite(self, model: MixturePriorGP, value: float) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1).clone()
        Y[2] = value
        with pytest.raises(InputDataError, match=rf"train_Y is {value} at \(2, 0\)"):
            MixturePriorGP(X, Y, model.prior)

    def test_noise_that_is_no_variance(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        for value in (-1.0, math.nan):
            with pytest.raises(InputDataError, match="variance"):
                MixturePriorGP(X, Y, model.prior, torch.full_like(Y, value))
        with pytest.raises(BotorchTensorDimensionError, match="train_Yvar"):
            MixturePriorGP(X, Y, model.prior, Y[:2])

    def test_noise_without_end(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        Yvar = torch.full_like(Y, 0.1)
        Yvar[1] = math.inf
        with pytest.raises(InputDataError, match="infinite"):
            MixturePriorGP(X, Y, model.prior, Yvar)

    def test_output_whose_evidence_overflows(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        with pytest.raises(ValueError, match="too large for this prior's scale"):
            MixturePriorGP(X, 1e160 * Y, model.prior)

    def test_new_observations_are_checked_like_the_first(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0][:1], model.train_targets[:1].unsqueeze(-1)
        with pytest.raises(InputDataError, match="Y is nan"):
            model.condition_on_observations(X, torch.full_like(Y, math.nan))
        with pytest.raises(SpaceError):
            model.condition_on_observations(X + 100, Y)
        with pytest.raises(BotorchTensorDimensionError, match="n x 1"):
            model.condition_on_observations(X, Y.squeeze(-1))

    def test_numbers_that_are_no_floats_of_one_precision(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        for wrong in ((X.long(), Y.long()), (X.float(), Y)):
            with pytest.raises(InputDataError, match="floats of one precision"):
                MixturePriorGP(*wrong, model.prior)

    def test_points_with_one_input_too_many(self, model: MixturePriorGP) -> None:
        with pytest.raises(SpaceError, match="3 inputs in a space of 2: x1, x2"):
            model.posterior(torch.rand(4, 3, dtype=torch.float64))

    def test_shapes(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0], model.train_targets.unsqueeze(-1)
        for wrong in (Y.squeeze(-1), Y[:3], Y.expand(-1, 2)):
            with pytest.raises(BotorchTensorDimensionError, match="train_Y"):
                MixturePriorGP(X, wrong, model.prior)
        with pytest.raises(SpaceError, match="x1, x2"):
            MixturePriorGP(X[:, :1], Y, model.prior)

    def test_point_outside_the_space(self, model: MixturePriorGP) -> None:
        X, Y = model.train_inputs[0].clone(), model.train_targets.unsqueeze(-1)
        X[3, 0] = 4.5
        with pytest.raises(SpaceError, match=r"train_X, row 3: input 'x1' is 4.5"):
            MixturePriorGP(X, Y, model.prior)


class TestFittedBroad:
    def test_is_one_more_component_and_the_prior_stays(
        self, make_prior: Callable[..., Prior], observe: Observe
    ) -> None:
        prior = make_prior(broad=0.2)
        model = MixturePriorGP(*observe(prior, 8), prior)
        fitted = model.with_fitted_broad()
        assert fitted.prior.mixture.num_components == prior.mixture.num_components + 1
        assert prior.mixture.num_components == model.prior.mixture.num_components
        weights = fitted.prior.mixture.log_weights.exp()
        assert weights.sum().item() == pytest.approx(1.0)
        assert 0 < weights[-1] < 0.2
        rebuilt = MixturePriorGP(*observe(prior, 8), fitted.prior)
        same(fitted, rebuilt, prior.space.sample(5, seed=2), tolerance=1e-12)

    def test_needs_observations_and_a_broad_component(
        self, make_prior: Callable[..., Prior], observe: Observe
    ) -> None:
        with_broad, without = make_prior(broad=0.2), make_prior()
        for prior, n in ((with_broad, 1), (without, 5)):
            with pytest.raises(UnsupportedError, match="with_fitted_broad"):
                MixturePriorGP(*observe(prior, n), prior).with_fitted_broad()
