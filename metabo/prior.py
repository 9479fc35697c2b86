"""The Prior: what meta-training leaves behind, and what everything later starts from.

A saved Prior is a safetensors file: a JSON header and then the tensors. Loading runs no code from
the file.
"""

from __future__ import annotations

import copy
import math
import os
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabo.known_points import KnownPoints
from metabo.mixture import Mixture, ParameterMap, concatenate
from metabo.network import MLP
from metabo.prior_file import PriorFileError, checksum, read, write
from metabo.space import InputSpace
from metabo.warp import Warp


@dataclass(frozen=True)
class PooledKernel:
    """A Matern-5/2 kernel and noise for all tasks of the family, in model units.

    Attributes:
        outputscale: The variance.
        lengthscales: One for each column that the kernel sees, or one for all.
        noise: The variance of the observation noise.
    """

    outputscale: float
    lengthscales: tuple[float, ...]
    noise: float

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PooledKernel:
        """What `asdict` wrote."""
        return cls(**(data | {"lengthscales": tuple(data["lengthscales"])}))


@dataclass(frozen=True)
class PlainKernels:
    """What the family's mean function leaves over, for surrogates that are one Gaussian process.

    Attributes:
        on_inputs: The kernel on the encoded inputs, with a length scale for each.
        on_features: The kernel on the network's features, with one length scale.
    """

    on_inputs: PooledKernel
    on_features: PooledKernel


@dataclass(frozen=True, eq=False)
class Prior:
    """A meta-learned prior over functions of one input space.

    Attributes:
        network: The features and, unused afterwards, the head that Reptile ended with; float64,
            frozen.
        mixture: The conjugate mixture over heads, in model units.
        space: The inputs and their units.
        output_offset: Subtracted from Y, in the user's units and then warped ...
        output_scale: ... before Y is divided by this: the pooled scale of the training tasks, one
            for all.
        minimize: Whether the user's output is to be minimised; Y is then its negative.
        provenance: Where the Prior comes from: versions, seed, settings, data, accuracy on left-out
            tasks. JSON-able.
        plain: Kernels for `ReptileMeanGP` and `ReptileKernelGP`.
        parameters: From heads to the parameters of a family in closed form.
        warp: What is done to Y before anything else, if anything.
        known: The effects of single points, which are the first feature then.
    """

    network: MLP
    mixture: Mixture
    space: InputSpace
    output_offset: float
    output_scale: float
    minimize: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)
    plain: PlainKernels | None = None
    parameters: ParameterMap | None = None
    warp: Warp | None = None
    known: KnownPoints | None = None

    def __post_init__(self) -> None:
        network = copy.deepcopy(self.network).to(torch.float64).requires_grad_(False).eval()
        object.__setattr__(self, "network", network)
        # One layout in memory, as after loading: the last bits of a product depend on it.
        object.__setattr__(self, "mixture", self.mixture.contiguous())

    def __repr__(self) -> str:
        inputs = ", ".join(self.space.names)
        tasks = self.provenance.get("data", {}).get("num_tasks", "?")
        components = int((~self.mixture.is_broad).sum())
        return f"Prior(inputs=[{inputs}], components={components}, training_tasks={tasks})"

    @property
    def sign(self) -> float:
        """The user's units to the Prior's: one that minimises has learned the negative."""
        return -1.0 if self.minimize else 1.0

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.mixture.means.device

    def encode(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Features `... x n x p` and encoded inputs `... x n x e` of `... x n x d` user's units."""
        inputs = self.space.encode(X)
        return all_features(self.network, self.known, inputs), inputs

    @cached_property
    @torch.inference_mode(False)
    def known_points(self) -> Tensor:
        """The points, `K x d` in the user's units, that have effects of their own."""
        inputs = self.mixture.lengthscales[:0] if self.known is None else self.known.inputs
        return self.space.decode(inputs)

    @property
    def num_features(self) -> int:
        """p: of the network, and one more if there are effects of single points."""
        return self.network.num_features + (self.known is not None)

    def to_model(self, Y: Tensor) -> Tensor:
        """Outputs in the user's units, of any shape, in model units."""
        warped = Y if self.warp is None else self.warp(Y)
        return (warped - self.output_offset) / self.output_scale

    def to_user(self, targets: Tensor) -> Tensor:
        """The inverse of `to_model`."""
        warped = self.output_offset + self.output_scale * targets
        return warped if self.warp is None else self.warp.inverse(warped)

    def log_slope(self, Y: Tensor) -> Tensor:
        """The logarithm of what a unit of Y, near Y, is in model units."""
        slope = torch.zeros_like(Y) if self.warp is None else self.warp.log_slope(Y)
        return slope - math.log(self.output_scale)

    def to(self, device: torch.device | str) -> Prior:
        """A copy on another device."""
        network = copy.deepcopy(self.network).to(device)
        parameters = None if self.parameters is None else self.parameters.to(device)
        return replace(
            self,
            network=network,
            mixture=self.mixture.to(device),
            parameters=parameters,
            known=self.known and self.known.to(device),
        )

    @cached_property
    def digest(self) -> str:
        """A fingerprint of all but the provenance: Priors with the same one predict the same."""
        header, tensors = self._content()
        return checksum(header | {"provenance": None}, tensors)

    def select(self, index: Tensor) -> Prior:
        """With only the mixture's components at `index` (long or bool), not renormalised."""
        parameters = None if self.parameters is None else self.parameters.select(index)
        return replace(self, mixture=self.mixture.select(index), parameters=parameters)

    def negated(self) -> Prior:
        """The Prior of the negative of the output, for `MixturePriorGP` only.

        What was minimised is to be maximised then, and the other way round.
        """
        return replace(
            self,
            mixture=replace(self.mixture, means=-self.mixture.means),
            output_offset=-self.output_offset,
            minimize=not self.minimize,
            plain=None,
            parameters=None,
            warp=None if self.warp is None else self.warp.negated(),
        )

    def with_broad(self, component: Mixture, share: float) -> Prior:
        """With one more broad component, which gets a share of the prior probability.

        There must be one already.
        """
        parameters, broad = self.parameters, self.mixture.is_broad
        if parameters is not None:  # of any broad component they are the same
            every = torch.arange(len(broad), device=broad.device)
            parameters = parameters.select(torch.cat([every, broad.nonzero()[-1]]))
        mixture = concatenate([(1 - share, self.mixture), (share, component)])
        return replace(self, mixture=mixture, parameters=parameters)

    def only_broad(self) -> Prior:
        """What is expected of a task that is not of the family: the broad components alone.

        There must be one.
        """
        broad = self.mixture.is_broad.nonzero().squeeze(-1)
        mixture = self.mixture.select(broad)
        mixture = mixture.reweighted(mixture.log_weights.log_softmax(-1))
        parameters = self.parameters and self.parameters.select(broad)
        return replace(self, mixture=mixture, parameters=parameters)

    @property
    def plain_kernels(self) -> PlainKernels:
        """`plain`; a ValueError if there is none."""
        if self.plain is None:
            raise ValueError(
                "this prior has no kernels for a plain surrogate: make it anew with meta_train"
            )
        return self.plain

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the Prior to a file; an existing one is replaced only once the new one is complete.

        Raises:
            OSError: If the file cannot be written; nothing is left behind then.
        """
        write(Path(path), *self._content())

    def _content(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All there is to it: what JSON can hold, and tensors."""
        header = {
            "network": self.network.settings(),
            "space": self.space.to_json(),
            "output_offset": self.output_offset,
            "output_scale": self.output_scale,
            "minimize": self.minimize,
            "provenance": self.provenance,
            "plain": None if self.plain is None else asdict(self.plain),
            "parameters": None if self.parameters is None else self.parameters.names,
            "warp": None if self.warp is None else asdict(self.warp),
        }
        tensors = {f"mixture.{name}": value for name, value in self.mixture.tensors().items()}
        tensors |= {f"network.{i}": layer.data for i, layer in enumerate(self.network.layers)}
        if self.known is not None:
            tensors |= {"known.inputs": self.known.inputs, "known.effects": self.known.effects}
        if self.parameters is not None:
            found = self.parameters.tensors()
            tensors |= {f"parameters.{name}": value for name, value in found.items()}
        return header, tensors

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Prior:
        """Read a Prior that `save` wrote; its predictions are bit-identical.

        Raises:
            FileNotFoundError: If there is no such file.
            PriorFileError: If the file is truncated, damaged, of another kind or of another format.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(
                f"there is no prior at {path}; metabo.meta_train(...).save(path) makes one"
            )
        header, tensors = read(path)
        try:
            return cls._assemble(header, tensors)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise PriorFileError(
                f"{path} is damaged: {error!r}; save or copy the prior again"
            ) from error

    @classmethod
    def _assemble(cls, header: dict[str, Any], tensors: dict[str, Tensor]) -> Prior:
        for name, value in tensors.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise ValueError(f"{name} is not finite")
        network = MLP(**header["network"]).to(torch.float64)
        with torch.no_grad():
            for i, layer in enumerate(network.layers):
                stored = tensors[f"network.{i}"]
                if stored.shape != layer.shape:
                    raise ValueError(
                        f"network.{i} has shape {tuple(stored.shape)}, not {tuple(layer.shape)}"
                    )
                layer.copy_(stored)
        mixture = Mixture(**_part("mixture.", tensors))
        known = _known_points(tensors, network.num_inputs)
        _check_shapes(mixture, network.num_features + (known is not None), network.num_inputs)
        return cls(
            network=network,
            mixture=mixture,
            known=known,
            space=InputSpace.from_json(header["space"]),
            output_offset=float(header["output_offset"]),
            output_scale=float(header["output_scale"]),
            minimize=bool(header["minimize"]),
            provenance=dict(header["provenance"]),
            plain=_plain_from_json(header["plain"]),
            parameters=_parameters(header["parameters"], tensors, mixture),
            warp=None if header["warp"] is None else Warp(**header["warp"]),
        )


def all_features(network: MLP, known: KnownPoints | None, inputs: Tensor) -> Tensor:
    """The features, `... x n x p`, of encoded inputs: those of the network, after the effects."""
    features = network.features(inputs)
    if known is None:
        return features
    return torch.cat([known(inputs).unsqueeze(-1), features], -1)


def _part(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under a prefix, by what follows it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _parameters(
    names: list[str] | None, tensors: dict[str, Tensor], mixture: Mixture
) -> ParameterMap | None:
    if names is None:
        return None
    found = ParameterMap(tuple(names), **_part("parameters.", tensors))
    expected = (mixture.num_components, len(names), mixture.roots.shape[-1])
    if found.slopes.shape != expected or found.low.shape != found.high.shape:
        raise ValueError(f"parameters.slopes has shape {tuple(found.slopes.shape)}, not {expected}")
    return found


def _plain_from_json(data: dict[str, Any] | None) -> PlainKernels | None:
    if data is None:
        return None
    return PlainKernels(**{name: PooledKernel.from_json(value) for name, value in data.items()})


def _known_points(tensors: dict[str, Tensor], num_inputs: int) -> KnownPoints | None:
    parts = _part("known.", tensors)
    if not parts:
        return None
    known = KnownPoints(**parts)
    if known.inputs.shape != (len(known.effects), num_inputs) or not len(known.effects):
        raise ValueError(f"known.inputs has shape {tuple(known.inputs.shape)}")
    return known


def _check_shapes(mixture: Mixture, width: int, inputs: int) -> None:
    count = mixture.num_components
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("outputscales", "noises", "is_broad"), (count,)
    )
    expected |= dict.fromkeys(("means", "amplitudes", "trends"), (count, width))
    expected |= {"lengthscales": (count, inputs)}
    for name, shape in expected.items():
        found = tuple(getattr(mixture, name).shape)
        if found != shape:
            raise ValueError(f"mixture.{name} has shape {found}, not {shape}")
    if mixture.roots.shape[:2] != (count, width):
        raise ValueError(f"mixture.roots has shape {tuple(mixture.roots.shape)}")
