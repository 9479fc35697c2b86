"""The network against `torch.nn`."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from metabo.network import MLP, stacked_output


def as_sequential(network: MLP) -> nn.Sequential:
    """The same function from `torch.nn.Linear` layers."""
    activations = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU, "sigmoid": nn.Sigmoid}
    modules: list[nn.Module] = []
    for w in network.layers:
        linear = nn.Linear(w.shape[0] - 1, w.shape[1]).to(w)
        with torch.no_grad():
            linear.weight.copy_(w[:-1].T)
            linear.bias.copy_(w[-1])
        modules += [linear, activations[network.activation]()]
    return nn.Sequential(*modules[:-1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "sigmoid"])
def test_forward_is_a_sequence_of_linear_layers(activation, batch_shape, dtype):
    network = MLP(2, (5, 4), activation).to(dtype)
    x = torch.randn(*batch_shape, 7, 2, dtype=dtype)
    torch.testing.assert_close(network(x), as_sequential(network)(x))


def test_output_is_the_features_times_the_head():
    network = MLP(3, (8, 6))
    x = torch.randn(5, 3)
    features = network.features(x)
    assert features.shape == (5, network.num_features) == (5, 7)
    assert torch.equal(features[:, -1], torch.ones(5))
    torch.testing.assert_close(features @ network.layers[-1], network(x))


def test_a_stack_is_its_networks():
    networks = [MLP(2, (4,), generator=torch.Generator().manual_seed(i)) for i in range(3)]
    x = torch.randn(3, 6, 2)
    stack = [torch.stack(layers) for layers in zip(*(n.layers for n in networks), strict=True)]
    one_by_one = torch.stack([n(x_t) for n, x_t in zip(networks, x, strict=True)])
    torch.testing.assert_close(stacked_output(stack, x, "tanh"), one_by_one)


def test_settings_rebuild_the_shape_through_json():
    network = MLP(4, (9, 3), "silu")
    rebuilt = MLP(**json.loads(json.dumps(network.settings())))
    rebuilt.load_state_dict(network.state_dict())
    x = torch.randn(5, 4)
    assert torch.equal(rebuilt(x), network(x))


def test_a_generator_decides_the_weights():
    first, second = (MLP(2, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    other = MLP(2, generator=torch.Generator().manual_seed(8))
    assert all(torch.equal(a, b) for a, b in zip(first.layers, second.layers, strict=True))
    assert not torch.equal(first.layers[0], other.layers[0])


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "sigmoid"])
def test_initial_outputs_vary_in_the_order_of_one(activation):
    spreads = []
    for seed in range(20):
        network = MLP(1, activation=activation, generator=torch.Generator().manual_seed(seed))
        spreads.append(network(torch.linspace(-1.7, 1.7, 50).unsqueeze(-1)).std())
    assert 0.05 < torch.stack(spreads).mean() < 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((1, (8,), "step"), "activation must be one of tanh"),
        ((0, (8,)), "num_inputs"),
        ((1, ()), "hidden"),
        ((1, (8, 0)), "hidden"),
    ],
)
def test_what_is_not_a_network_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        MLP(*arguments)
