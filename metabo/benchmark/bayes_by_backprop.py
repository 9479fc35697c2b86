r"""Bayes by Backprop, meta-trained with Reptile, for comparison with the mixture.

The network is `MeanFieldMLP`. The loss of b observations is the negative evidence bound of
[Blundell2015]_ for an assumed noise :math:`\sigma`, times :math:`2 \sigma^2 / b`, so that step
sizes mean what they mean with a squared error:

.. math::
    \tfrac{1}{b} \sum_i (f_w(x_i) - y_i)^2 + \tfrac{2 \sigma^2}{b} KL(q(w) \| p(w))

Reptile meta-trains the means and the deviations of the weights as it does any others.

.. [Blundell2015] C. Blundell, J. Cornebise, K. Kavukcuoglu, D. Wierstra. Weight Uncertainty in
   Neural Networks. arXiv:1505.05424.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal
from torch.func import functional_call, vmap

from metabo.benchmark.mean_field import MeanFieldMLP
from metabo.meta_training.learner import choose_learner
from metabo.meta_training.reptile import ReptileSettings, reptile
from metabo.space import InputSpace
from metabo.tasks import FunctionFamily
from metabo.tasks.task import TaskBatch

_CALIBRATION = 128  # training tasks that tell how much noise to expect
_NOISES = torch.logspace(-2.5, 0.5, 16)  # model units
_DRAWS = 64


def evidence_loss(noise_sd: float, output: Tensor, y: Tensor) -> Tensor:
    """The loss above, from the network's output, `b x 2`, and observations, `b`."""
    draws, divergence = output.unbind(-1)
    return (draws - y).square().mean() + 2 * noise_sd**2 / len(y) * divergence[0]


@dataclass(frozen=True, eq=False)
class BayesByBackprop:
    """Predicts with draws of the adapted network's weights, and a noise on top.

    Attributes:
        network: From Reptile.
        tasks: Tasks that it was not trained on, in model units, to learn the noise from.
        offset: Model units to user's units: `y = offset + scale * model`.
        scale: Likewise.
        settings: The inner loop, which uses all observations in every step.
        noise_sd: The noise that the loss assumes, in model units.
        own_noise: Whether predictions have that noise, or for each number of observations the one
            that makes `tasks` likeliest.
        name: What tables call it.
    """

    network: MeanFieldMLP
    tasks: TaskBatch
    offset: float
    scale: float
    settings: ReptileSettings
    noise_sd: float
    own_noise: bool = False
    name: str = "Bayes by Backprop"

    @classmethod
    def meta_train(
        cls,
        family: FunctionFamily,
        *,
        seed: int,
        noise_sd: float = 0.1,
        num_tasks: int = 3000,
        hidden: Sequence[int] = (32, 32, 32),
        initial_sd: float = 0.03,
        settings: ReptileSettings | None = None,
    ) -> BayesByBackprop:
        """Train the network on a family."""
        settings = settings or ReptileSettings(400, 16, 20, 10)
        raw = family.batch(num_tasks + _CALIBRATION, 40, seed=seed)
        offset, scale = float(raw.Y.mean()), float(raw.Y.std())
        tasks = TaskBatch(family.space.encode(raw.X), (raw.Y - offset) / scale, raw.counts)
        generator = torch.Generator().manual_seed(seed)
        network = MeanFieldMLP(
            family.space.encoded_dim, hidden, initial_sd=initial_sd, generator=generator
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of the weights that are drawn
            network = reptile(
                tasks.select(slice(num_tasks)),
                network,
                settings,
                seed=seed,
                loss=partial(evidence_loss, noise_sd),
                device="cpu",
                progress=False,
            )
        calibration = tasks.select(slice(num_tasks, None))
        return cls(network, calibration, offset, scale, settings, noise_sd)

    def predict(self, space: InputSpace, X: Tensor, Y: Tensor, query: Tensor) -> Distribution:
        """A mixture of normal distributions, one for each draw; n may be 0."""
        encoded, targets = space.encode(X), (Y.squeeze(-1) - self.offset) / self.scale
        draws = self._draws(encoded[None], targets[None], space.encode(query)[None])[:, 0]
        noise = self.noise_sd if self.own_noise else self._best(len(X))[0]
        return _mixture(self.offset + self.scale * draws, self.scale * noise)

    def score(self, counts: Sequence[int]) -> float:
        """The mean negative log density of `tasks`, after so many observations; in model units."""
        return sum(self._best(n)[1] for n in counts) / len(counts)

    @cached_property
    def _found(self) -> dict[int, tuple[float, float]]:
        return {}

    def _best(self, n: int) -> tuple[float, float]:
        """The noise for which the other observations of `tasks` are likeliest; how likely."""
        if n not in self._found:
            X, Y = self.tasks.X, self.tasks.Y
            draws = self._draws(X[:, :n], Y[:, :n], X[:, n:])
            losses = [
                -float(_mixture(draws, float(noise)).log_prob(Y[:, n:]).mean()) for noise in _NOISES
            ]
            best = min(range(len(losses)), key=losses.__getitem__)
            self._found[n] = float(_NOISES[best]), losses[best]
        return self._found[n]

    def _draws(self, X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        """Outputs, `draws x T x q`, of networks adapted to each of T tasks; always the same."""
        start = [w.detach() for w in self.network.parameters()]
        names = [name for name, _ in self.network.named_parameters()]
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            weights = self._adapted(start, X.to(start[0]), Y.to(start[0]))

            def output(own: list[Tensor], x: Tensor) -> Tensor:
                named = dict(zip(names, own, strict=True))
                return functional_call(self.network, named, (x,))[:, 0]

            one: Callable[..., Tensor] = vmap(output, randomness="different")
            x = query.to(start[0])
            return torch.stack([one(weights, x) for _ in range(_DRAWS)]).double()

    def _adapted(self, start: list[Tensor], X: Tensor, Y: Tensor) -> list[Tensor]:
        if X.shape[1] == 0:
            return [w.expand(len(X), *w.shape) for w in start]
        steps = self.settings.inner_steps
        learner = choose_learner(self.network, partial(evidence_loss, self.noise_sd))
        x, y = X.expand(steps, *X.shape), Y.expand(steps, *Y.shape)
        return learner.adapt(start, x, y, self.settings.inner_step_size).layers


def _mixture(draws: Tensor, noise_sd: float) -> MixtureSameFamily:
    """Equal parts of normal distributions around draws, `draws x ...`."""
    means = draws.movedim(0, -1)
    return MixtureSameFamily(Categorical(logits=torch.zeros_like(means)), Normal(means, noise_sd))
