"""A posterior of metabo as a distribution of PyTorch, point by point, for the metrics."""

from __future__ import annotations

from torch import Size, Tensor
from torch.distributions import Distribution

from metabo.surrogates import MixturePosterior


class Predictive(Distribution):
    """The marginals, of batch shape q, of a posterior at q points.

    Args:
        posterior: Not batched.
    """

    arg_constraints = {}  # noqa: RUF012  # as PyTorch has it
    has_rsample = False

    def __init__(self, posterior: MixturePosterior) -> None:
        self.posterior = posterior
        super().__init__(Size([len(posterior.means[0])]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """`q`."""
        return self.posterior.mean.squeeze(-1)

    @property
    def variance(self) -> Tensor:
        """`q`."""
        return self.posterior.variance.squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density, `q`, at `q` values."""
        return self.posterior.log_density(value.unsqueeze(-1)).squeeze(-1)

    def cdf(self, value: Tensor) -> Tensor:
        """The probability, `q`, of at most `q` values."""
        return self.posterior.cdf(value.unsqueeze(-1)).squeeze(-1)

    def sample(self, sample_shape: Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Independent draws, `sample_shape x q`."""
        return self.posterior.marginal_sample(Size(sample_shape)).detach()
