"""Functions drawn from a `MixturePriorGP`, where BoTorch draws them from a Gaussian process.

They are what `draw_matheron_paths`, `get_matheron_path_model`, `PathwiseThompsonSampling` and
`get_optimal_samples` work with.
"""

from __future__ import annotations

import torch
from botorch.exceptions.errors import UnsupportedError
from botorch.sampling.pathwise.paths import SamplePath
from botorch.sampling.pathwise.posterior_samplers import DrawMatheronPaths
from botorch.sampling.pathwise.prior_samplers import draw_kernel_feature_paths
from botorch.sampling.pathwise.update_strategies import gaussian_update
from botorch.sampling.pathwise.utils import get_input_transform, get_output_transform
from torch import Size, Tensor

from metabo.mixture import draw_paths
from metabo.surrogates.mixture_members import MixtureMembers
from metabo.surrogates.mixture_prior_gp import MixturePriorGP


class MixturePath(SamplePath):
    """Functions from the posterior, in the user's units, `sample_shape x batch_shape` of them."""

    def __init__(self, model: MixturePriorGP, sample_shape: Size) -> None:
        super().__init__()
        self.input_transform = get_input_transform(model)
        self.output_transform = get_output_transform(model)
        self._prior, self._dtype = model.prior, model.train_inputs[0].dtype
        with torch.no_grad():
            self._paths = draw_paths(model.conditioned, sample_shape)

    def forward(self, x: Tensor) -> Tensor:
        """The values, `... x n`, at points `... x n x d` after the input transform."""
        return self._prior.to_user(self._paths(*self._prior.encode(x.double()))).to(self._dtype)

    def set_ensemble_as_batch(self, ensemble_as_batch: bool) -> None:
        """Nothing: a mixture is not an ensemble with a dimension of its own."""


@DrawMatheronPaths.register(MixturePriorGP)  # type: ignore[untyped-decorator]
def _draw_matheron_paths(
    model: MixturePriorGP,
    *,
    sample_shape: Size,
    prior_sampler: object = draw_kernel_feature_paths,
    update_strategy: object = gaussian_update,
) -> MixturePath:
    if prior_sampler is not draw_kernel_feature_paths or update_strategy is not gaussian_update:
        raise UnsupportedError(
            "a mixture draws its paths itself: leave prior_sampler and update_strategy out"
        )
    return MixturePath(model, sample_shape)


@DrawMatheronPaths.register(MixtureMembers)  # type: ignore[untyped-decorator]
def _refuse_members(model: MixtureMembers, **settings: object) -> MixturePath:
    raise UnsupportedError(
        "members are for acquisition functions in closed form; paths need none: draw them from "
        "the mixture itself"
    )
