"""Which points are known, and what is known of them."""

import ConfigSpace as CS
import torch
from torch import Tensor

from metabo.known_points import KnownPoints
from metabo.space import InputSpace


def grid() -> Tensor:
    axes = [
        torch.linspace(-1.7, 1.7, 6).double(),
        torch.arange(5).double(),
        torch.arange(2).double(),
    ]
    return torch.cartesian_prod(*axes)


def known() -> KnownPoints:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    return KnownPoints(grid()[order], order.double() + 1)


def test_every_known_point_has_its_own_effect() -> None:
    assert torch.equal(known()(grid()), torch.arange(60).double() + 1)


def test_other_points_have_none() -> None:
    near = grid() + torch.tensor([1e-4, 0, 0])
    assert not known()(near).any()
    swapped = grid()[:, [1, 0, 2]]
    expected = (swapped[:, None] == grid()).all(-1).double() @ (torch.arange(60).double() + 1)
    assert torch.equal(known()(swapped), expected)


def test_any_shape() -> None:
    effects = known()(grid()[:24].reshape(2, 3, 4, 3))
    assert torch.equal(effects.flatten(), torch.arange(24).double() + 1)
    assert known()(grid()[:0]).shape == (0,)


def test_single_precision_and_rounding() -> None:
    assert torch.equal(known()(grid().float()), torch.arange(60).float() + 1)
    assert torch.equal(known()(grid() * (1 + 1e-12)), torch.arange(60).double() + 1)


def test_points_that_are_looked_for_may_have_a_gradient() -> None:
    points = grid().requires_grad_()
    (slope,) = torch.autograd.grad(known()(points).sum() + points.sum(), points)
    assert torch.equal(slope, torch.ones_like(points))


def test_points_of_many_categories() -> None:
    space = CS.ConfigurationSpace()
    space.add(CS.Categorical(f"x{i}", list("abcde")) for i in range(6))
    points = torch.cartesian_prod(*[torch.arange(5).double()] * 6)
    inputs = InputSpace(space, [f"x{i}" for i in range(6)]).encode(points)
    effects = torch.arange(len(inputs)).double() + 1
    assert torch.equal(KnownPoints(inputs, effects)(inputs), effects)


def test_the_nearest_of_several_points_is_found() -> None:
    inputs = torch.tensor([[0.5, 0.5], [0.5, 0.50001], [0.50001, 0.5], [0.9, 0.1]]).double()
    points = KnownPoints(inputs, torch.arange(1, 5).double())
    assert torch.equal(points(inputs + 2e-6), torch.arange(1, 5).double())


def test_single_precision_of_numbers_that_are_large_beside_their_range() -> None:
    space = InputSpace.from_bounds([[100.0, -1.0], [110.0, 1.0]])
    X = space.sample(500, seed=0)
    effects = torch.arange(500).double() + 1
    points = KnownPoints(space.encode(X), effects)
    assert torch.equal(points(space.encode(X.float())), effects.float())
    assert torch.equal(points(space.encode(X.float().double())), effects)
