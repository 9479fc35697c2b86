r"""A network with random weights, for Bayes by Backprop [Blundell2015]_.

Every weight is an independent Gaussian, :math:`w \sim N(\mu, e^{2\lambda})`, and the parameters are
:math:`\mu` and :math:`\lambda`. Weights are not drawn themselves: given the layer's input h, the
products :math:`h W` are independent Gaussians with mean :math:`h \mu` and variance :math:`h^2
e^{2\lambda}`, and are drawn anew for each row [Kingma2015]_. At one point that is the same
distribution, and the gradient is far less noisy.

.. [Blundell2015] C. Blundell, J. Cornebise, K. Kavukcuoglu, D. Wierstra. Weight Uncertainty in
   Neural Networks. arXiv:1505.05424.
.. [Kingma2015] D. P. Kingma, T. Salimans, M. Welling. Variational Dropout and the Local
   Reparameterization Trick. arXiv:1506.02557.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from metabo.network import MLP


class MeanFieldMLP(nn.Module):
    """A tanh network of independent Gaussian weights.

    Args:
        num_inputs: The input dimension e.
        hidden: The width of each hidden layer.
        initial_sd: What all weights start with.
        generator: Where the first means are drawn from; the global one if None.
    """

    def __init__(
        self,
        num_inputs: int,
        hidden: Sequence[int] = (32, 32, 32),
        *,
        initial_sd: float = 0.03,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        start = MLP(num_inputs, hidden, generator=generator).layers
        self.means = nn.ParameterList(layer.detach() for layer in start)
        log_sd = torch.tensor(initial_sd).log()
        self.log_sds = nn.ParameterList(log_sd.expand(w.shape).clone() for w in start)

    def forward(self, x: Tensor) -> Tensor:
        r"""A draw of the output at each row, from PyTorch's global generator, and the divergence.

        Args:
            x: `b x e` encoded inputs.

        Returns:
            `b x 2`: the draws, and in every row :math:`KL(q \| p)` in nats.
        """
        h = x
        layers = list(zip(self.means, self.log_sds, strict=True))
        for i, (mean, log_sd) in enumerate(layers):
            h = pad(h if i == 0 else h.tanh(), (0, 1), value=1.0)
            deviation = (h.square() @ (2 * log_sd).exp()).sqrt()
            h = h @ mean + deviation * torch.randn_like(deviation)
        return torch.cat([h, self.divergence().expand(len(x), 1)], -1)

    def divergence(self) -> Tensor:
        r"""The Kullback-Leibler divergence of the weights from their prior, in nats, 0-d.

        The prior is that of the network's first weights: :math:`N(0, 1 / \text{inputs})`, and
        :math:`N(0, 1)` for the biases.
        """
        return torch.stack([
            _divergence(mean, log_sd)
            for mean, log_sd in zip(self.means, self.log_sds, strict=True)
        ]).sum()  # fmt: skip


def _divergence(mean: Tensor, log_sd: Tensor) -> Tensor:
    variance = torch.full_like(mean[:, :1], 1 / (len(mean) - 1))
    variance[-1] = 1.0
    ratio = (2 * log_sd).exp() / variance
    return 0.5 * (ratio + mean.square() / variance - 1 - ratio.log()).sum()
