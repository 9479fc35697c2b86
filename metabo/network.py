r"""The meta-learned network: a multilayer perceptron read as features and a linear head.

.. math::
    h_0 = [x, 1], \quad h_l = [\sigma(h_{l-1} W_l), 1], \quad \phi(x) = h_L, \quad
    f(x) = \phi(x)\, w

Each :math:`W_l` is one *augmented* matrix whose last row is the bias, so that a layer is a single
matrix product, and a stack of T networks is the same matrices with a leading task dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "silu": silu, "sigmoid": torch.sigmoid}

# Keeps the variance of the activations near one from layer to layer (Glorot for tanh, He for relu).
_GAIN = {"tanh": 1.0, "relu": 2.0**0.5, "silu": 2.0**0.5, "sigmoid": 4.0}


class MLP(nn.Module):
    """A fully connected network; its last hidden layer, with a trailing one, is `features`.

    Args:
        num_inputs: The input dimension e.
        hidden: The width of each hidden layer; at least one.
        activation: "tanh", "relu", "silu" or "sigmoid".
        generator: Where the initial weights are drawn from; the global one if None.

    Raises:
        ValueError: If a size is not positive, no hidden layer is asked for, or the activation is
            not known.
    """

    def __init__(
        self,
        num_inputs: int,
        hidden: Sequence[int] = (32, 32, 32),
        activation: str = "tanh",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}"
            )
        if num_inputs < 1 or not hidden or min(hidden) < 1:
            raise ValueError(
                f"num_inputs and hidden must be positive; got {num_inputs} and {tuple(hidden)}"
            )
        self.num_inputs = int(num_inputs)
        self.hidden = tuple(int(width) for width in hidden)
        self.activation = activation
        sizes = [self.num_inputs, *self.hidden, 1]
        gains = [_GAIN[activation]] * len(self.hidden) + [1.0]
        self.layers = nn.ParameterList(
            _initial_layer(fan_in, fan_out, gain, generator)
            for fan_in, fan_out, gain in zip(sizes[:-1], sizes[1:], gains, strict=True)
        )

    @property
    def num_features(self) -> int:
        """The number p of features, the trailing one counted."""
        return self.hidden[-1] + 1

    def features(self, x: Tensor) -> Tensor:
        """The last hidden activations and a trailing one.

        Args:
            x: `... x e` encoded inputs.

        Returns:
            `... x p`.
        """
        return stacked_features(list(self.layers), x, self.activation)

    def forward(self, x: Tensor) -> Tensor:
        """The output, `... x 1`, at encoded inputs `x`, `... x e`."""
        return stacked_output(list(self.layers), x, self.activation)

    def settings(self) -> dict[str, Any]:
        """What `MLP(**settings)` needs to build a network of the same shape; JSON-able."""
        return {
            "num_inputs": self.num_inputs,
            "hidden": list(self.hidden),
            "activation": self.activation,
        }


def stacked_features(layers: Sequence[Tensor], x: Tensor, activation: str) -> Tensor:
    """The features of one network, or of a stack of T networks each at its own inputs.

    Args:
        layers: The augmented matrices, `(in + 1) x out` or `T x (in + 1) x out`, head last.
        x: `... x e`, or `T x n x e` for a stack.
        activation: As in `MLP`.

    Returns:
        `... x p`, or `T x n x p` for a stack.
    """
    nonlinearity = ACTIVATIONS[activation]
    h = pad(x, (0, 1), value=1.0)
    for layer in layers[:-1]:
        h = pad(nonlinearity(h @ layer), (0, 1), value=1.0)
    return h


def stacked_output(layers: Sequence[Tensor], x: Tensor, activation: str) -> Tensor:
    """The outputs, `... x 1` or `T x n x 1`; arguments as `stacked_features`."""
    return stacked_features(layers, x, activation) @ layers[-1]


def _initial_layer(
    fan_in: int, fan_out: int, gain: float, generator: torch.Generator | None
) -> nn.Parameter:
    layer = torch.empty(fan_in + 1, fan_out)
    layer[:-1].normal_(std=gain / fan_in**0.5, generator=generator)
    # Biases spread the units over the inputs: without them every tanh unit is odd about the origin.
    layer[-1].uniform_(-1.0, 1.0, generator=generator)
    return nn.Parameter(layer)
