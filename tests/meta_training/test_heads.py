"""The mixture over heads: assembled, judged and chosen."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metabo.meta_training.features import Features, complement, left_out
from metabo.meta_training.heads import (
    Fold,
    HeadSettings,
    LeftOutFit,
    assemble,
    candidates,
    fit_left_out_remainder,
    score,
)
from metabo.mixture import HeadPrior, Remainder, Trend, condition
from metabo.network import MLP
from metabo.tasks.task import TaskBatch


def network() -> MLP:
    return MLP(1, (8,), generator=torch.Generator().manual_seed(0)).double().requires_grad_(False)


def remainder(noise: float = 0.01) -> Remainder:
    values = torch.tensor([0.05, noise, 0.0, 1.0]).double()
    trend = Trend(slope=values[2], lengthscale=values[3])
    return Remainder(values[0], torch.ones(1).double(), values[1], trend)


def features() -> Features:
    mean = network().layers[-1].squeeze(-1)
    head = HeadPrior(mean.new_zeros(1), mean[None], _eye()[None])
    return Features(network(), head, replace(remainder(), trend=None))


def _eye() -> Tensor:
    return 0.3 * torch.eye(9).double()


def sampled(num_tasks: int, points: int, seed: int, counts: list[int] | None = None) -> TaskBatch:
    """Two kinds of functions that are linear in the features, observed with noise of sd 0.1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    X = 3**0.5 * (2 * torch.rand(num_tasks, points, 1, generator=generator).double() - 1)
    kinds = normal(2, 9, 1)[torch.arange(num_tasks) % 2]
    Y = network().features(X) @ (kinds + 0.1 * normal(num_tasks, 9, 1))
    Y = Y.squeeze(-1) + 0.1 * normal(num_tasks, points)
    count = torch.tensor(counts or [points] * num_tasks)
    return TaskBatch(X, Y * (torch.arange(points) < count[:, None]), count)


@pytest.fixture(scope="module")
def fold() -> Fold:
    together = sampled(80, 12, seed=0)
    train, held_out = together.select(slice(0, 64)), together.select(slice(64, 80))
    return Fold(features(), train, held_out, levels=False)


class TestLeftOut:
    @pytest.mark.parametrize(("count", "folds", "size"), [(2, 2, 1), (8, 8, 1), (15, 8, 2)])
    def test_few_tasks_are_left_out_in_turn(self, count: int, folds: int, size: int) -> None:
        groups = left_out(count, torch.Generator().manual_seed(0))
        assert len(groups) == folds
        assert max(map(len, groups)) == size
        assert sorted(torch.cat(groups).tolist()) == list(range(count))

    @pytest.mark.parametrize(("count", "size"), [(16, 4), (100, 20), (10_000, 512)])
    def test_of_many_a_share_is_left_out_once(self, count: int, size: int) -> None:
        (group,) = left_out(count, torch.Generator().manual_seed(0))
        assert len(group.unique()) == size
        rest = complement(group, count)
        assert len(rest) == count - size
        assert not set(rest.tolist()) & set(group.tolist())

    def test_a_single_task_cannot_be_left_out(self) -> None:
        assert left_out(1, torch.Generator()) == []


class TestAssemble:
    @pytest.mark.parametrize("levels", [False, True])
    def test_family_and_broad_components(self, fold: Fold, levels: bool) -> None:
        head = HeadPrior(torch.tensor([0.25, 0.75]).log(), torch.zeros(2, 9), torch.zeros(2, 9, 3))
        head = HeadPrior(*(value.double() for value in vars(head).values()))
        mixture = assemble(head, remainder(), replace(fold, levels=levels))
        family = ~mixture.is_broad
        assert int(family.sum()) == (14 if levels else 2)
        weights = mixture.log_weights.exp()
        assert weights.sum().item() == pytest.approx(1)
        assert weights[~family].sum().item() == pytest.approx(1 / 66)
        if not levels:
            assert weights[family].tolist() == pytest.approx([0.25 * 65 / 66, 0.75 * 65 / 66])
            torch.testing.assert_close(mixture.noises, torch.full_like(mixture.noises, 0.01))

    def test_one_task_is_hardly_trusted_and_many_never_wholly(self, fold: Fold) -> None:
        head = fold.features.head
        for count, share in ((1, 1 / 3), (3, 1 / 5), (64, 1 / 66)):
            fewer = replace(fold, train=fold.train.select(slice(0, count)))
            mixture = assemble(head, remainder(), fewer)
            assert mixture.log_weights.exp()[mixture.is_broad].sum() == pytest.approx(share)


def test_the_size_of_the_remainder_follows_the_mean_function(fold: Fold) -> None:
    steep = replace(remainder(), trend=Trend(torch.tensor(-0.5), torch.tensor(2.0)))
    mixture = assemble(fold.features.head, steep, fold)
    seen = fold.features.network.features(fold.train.X)
    sizes = (seen @ mixture.amplitudes.mT).exp()  # T x n x C
    family = ~mixture.is_broad
    torch.testing.assert_close(sizes[..., ~family], torch.ones_like(sizes[..., ~family]))
    mean = fold.train.Y.mean()  # the head of the mean function predicts the pooled mean
    assert (seen @ fold.trend).mean().item() == pytest.approx(float(mean), abs=0.1)
    torch.testing.assert_close(sizes[..., 0], (-0.5 * seen @ fold.trend).exp())
    torch.testing.assert_close(
        mixture.trends[family], (fold.trend / 2).expand(int(family.sum()), -1)
    )
    assert (mixture.trends[~family] == 0).all()


def test_score_is_the_evidence(fold: Fold) -> None:
    mixture = assemble(fold.features.head, remainder(), fold)
    tasks = fold.held_out
    expected = condition(mixture, network().features(tasks.X), tasks.X, tasks.Y).log_evidence
    torch.testing.assert_close(score(fold.features.network, mixture, tasks), expected)


def test_padding_is_not_scored(fold: Fold) -> None:
    counts = [1, 2, 3, 12] * 4
    ragged = sampled(16, 12, seed=5, counts=counts)
    mixture = assemble(fold.features.head, remainder(), fold)
    found = score(fold.features.network, mixture, ragged)
    alone = []
    for t, count in enumerate(counts):
        X, Y = ragged.X[t, :count], ragged.Y[t, :count]
        alone.append(condition(mixture, network().features(X), X, Y).log_evidence)
    torch.testing.assert_close(found, torch.stack(alone))


def test_a_mixture_is_fitted_for_each_size_that_the_tasks_can_carry(fold: Fold) -> None:
    settings = HeadSettings(num_components=(1, 2, 8, 16))
    found = dict(candidates(fold, LeftOutFit(remainder()), settings.num_components, settings, 0))
    assert sorted(found) == [1, 2, 4]  # cut to sixteen tasks a component
    assert found[2].means.shape == (2, 9)
    mixtures = {k: assemble(head, remainder(), fold) for k, head in found.items()}
    means = {
        k: float(score(fold.features.network, m, fold.held_out).mean()) for k, m in mixtures.items()
    }
    assert means[2] > means[1] + 0.5
    wide = dict(candidates(fold, LeftOutFit(remainder(), 2.0), (1,), settings, 0))[1]
    again = dict(candidates(fold, LeftOutFit(remainder(), heads=found), (2,), settings, 0))
    assert list(again) == [2]
    better = assemble(again[2], remainder(), fold)
    assert float(score(fold.features.network, better, fold.held_out).mean()) > means[2] - 0.05
    torch.testing.assert_close(wide.roots, 2 * found[1].roots)


def test_remainder_of_left_out_tasks_finds_the_noise(fold: Fold) -> None:
    fit = fit_left_out_remainder([fold], HeadSettings())
    found = fit.remainder
    assert math.sqrt(found.noise) == pytest.approx(0.1, rel=0.25)
    assert found.outputscale < 0.07
    assert 0.3 < fit.head_scale < 3


def test_remainder_of_several_folds_of_ragged_and_constant_tasks() -> None:
    ragged = sampled(3, 6, seed=1, counts=[6, 2, 1])
    constant = TaskBatch(ragged.X, torch.zeros_like(ragged.Y), ragged.counts)
    for tasks in (ragged, constant):
        folds = [
            Fold(features(), tasks.select(complement(group, 3)), tasks.select(group), levels)
            for group in left_out(3, torch.Generator().manual_seed(0))
            for levels in (False, True)
        ]
        found = fit_left_out_remainder(folds, HeadSettings())
        assert found.remainder.noise > 0
        assert found.remainder.lengthscales.isfinite().all()
        assert math.isfinite(found.head_scale)
