"""A Prior in Ax: the surrogate of a generation strategy, in the user's own units.

Ax standardises outcomes by default, and so wipes out the scale that the Prior has learned. Here
it leaves them alone; categories become their indices, and inputs on a log scale are searched there.

    client = Client()
    client.configure_experiment(parameters=parameters(prior))
    client.configure_optimization(objective="-loss" if prior.minimize else "loss")
    client.set_generation_strategy(generation_strategy(prior))

    index = client.attach_trial(metabo.Optimizer(prior).ask())  # from the Prior, before any data
    client.complete_trial(index, raw_data={"loss": 0.3})
    for index, point in client.get_next_trials(1).items():
        client.complete_trial(index, raw_data={"loss": measure(point)})

`Client.save_to_json_file` keeps the Prior in the file; loading it runs no code. Import this module
before `Client.load_from_json_file`.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import torch
from ax.adapter.registry import GeneratorRegistryBase, Generators, GeneratorSetup
from ax.adapter.torch import TorchAdapter
from ax.adapter.transforms.choice_encode import ChoiceToNumericChoice
from ax.adapter.transforms.log import Log
from ax.adapter.transforms.remove_fixed import RemoveFixed
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from ax.core.base_trial import TrialStatus
from ax.core.parameter import ChoiceParameter, Parameter
from ax.core.search_space import SearchSpaceDigest
from ax.generation_strategy.generation_node import GenerationNode
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.generation_strategy.generator_spec import GeneratorSpec
from ax.generation_strategy.transition_criterion import MinTrials
from ax.generators.torch.botorch_modular.generator import BoTorchGenerator
from ax.generators.torch.botorch_modular.surrogate import (
    Surrogate,
    SurrogateSpec,
    submodel_input_constructor,
)
from ax.generators.torch.botorch_modular.utils import ModelConfig, fit_botorch_model
from ax.storage.botorch_modular_registry import register_model
from ax.storage.json_store.registry import CORE_DECODER_REGISTRY, CORE_ENCODER_REGISTRY
from ax.storage.transform_registry import register_transform
from botorch.models.model import Model
from botorch.models.transforms.input import (
    ChainedInputTransform,
    FilterFeatures,
    InputTransform,
    Log10,
)
from botorch.utils.datasets import SupervisedDataset

from metabo.column import LARGEST
from metabo.prior import Prior
from metabo.space import InputSpace, SpaceError
from metabo.surrogates.mixture_prior_gp import MixturePriorGP


class ChoiceToIndex(ChoiceToNumericChoice):
    """Replace every choice by its index, which is what a Prior knows a category by."""

    def _should_encode(self, p: Parameter) -> bool:
        return isinstance(p, ChoiceParameter) and not p.is_task


class OneOutcomeGenerator(BoTorchGenerator):
    """Ax's BoTorch generator, for what a Prior is of: one outcome."""

    def gen(self, n: int, search_space_digest: Any, torch_opt_config: Any) -> Any:
        """Propose points.

        Raises:
            ValueError: If the experiment has outcome constraints or several objectives.
        """
        several = int(torch_opt_config.objective_weights.count_nonzero()) > 1
        if several or torch_opt_config.outcome_constraints is not None:
            raise ValueError(
                "the experiment has outcome constraints or several objectives, but a Prior is of "
                "one outcome: leave them out, or take metabo.Optimizer with its constraints"
            )
        return super().gen(n, search_space_digest, torch_opt_config)


class MetaboGenerators(GeneratorRegistryBase):
    """Ax's BoTorch generator without transforms of the outcome."""

    METABO = "Metabo"

    @property
    def GENERATOR_KEY_TO_GENERATOR_SETUP(self) -> dict[str, GeneratorSetup]:  # noqa: N802
        """What Ax builds; a trial does not save the Prior, which the strategy does."""
        setup = GeneratorSetup(
            adapter_class=TorchAdapter,
            generator_class=OneOutcomeGenerator,
            transforms=[RemoveFixed, ChoiceToIndex, Log],
            not_saved_generator_kwargs=["surrogate_spec"],
        )
        return {"Metabo": setup}


def parameters(prior: Prior) -> list[RangeParameterConfig | ChoiceParameterConfig]:
    """The Prior's inputs as an Ax experiment's parameters; narrow the ranges if you want.

    Raises:
        SpaceError: If an input is constant, or has choices of a kind that Ax has not.
    """
    space = prior.space
    return [
        _choice(name, space.categories[name]) if name in space.categories else _range(space, i)
        for i, name in enumerate(space.names)
    ]


def _range(space: InputSpace, i: int) -> RangeParameterConfig:
    low, high = space.bounds[:, i].tolist()
    if low == high:
        raise SpaceError(f"input {space.names[i]!r} is constant, which Ax cannot search")
    return RangeParameterConfig(
        name=space.names[i],
        bounds=(low, high),
        parameter_type="int" if i in space.integer_dims else "float",
        scaling="log" if i in space.log_dims else "linear",
    )


def _choice(name: str, choices: tuple[Any, ...]) -> ChoiceParameterConfig:
    kinds = {type(choice) for choice in choices}
    if len(choices) < 2 or len(kinds) > 1 or not kinds <= {bool, int, float, str}:
        raise SpaceError(f"input {name!r} has the choices {list(choices)}, which Ax cannot hold")
    # Ax would sort ordered choices, but their order is that of the Prior's indices.
    return ChoiceParameterConfig(
        name=name,
        values=list(choices),
        parameter_type=kinds.pop().__name__,  # type: ignore[arg-type]
        is_ordered=False,
    )


def generation_strategy(prior: Prior) -> GenerationStrategy:
    """Proposals from the Prior, after a first point that is quasi-random.

    Ax has no model before there are data: attach a first trial (see above) to do without.
    """
    first = GenerationNode(
        name="first",
        generator_specs=[GeneratorSpec(generator_enum=Generators.SOBOL)],
        transition_criteria=[
            MinTrials(
                1,
                transition_to="metabo",
                use_all_trials_in_exp=True,
                only_in_statuses=[TrialStatus.COMPLETED],  # one that failed gives no data
            )
        ],
    )
    spec = GeneratorSpec(
        generator_enum=MetaboGenerators.METABO,
        generator_kwargs={"surrogate_spec": surrogate_spec(prior)},
    )
    return GenerationStrategy(
        name="metabo", nodes=[first, GenerationNode(name="metabo", generator_specs=[spec])]
    )


def surrogate_spec(prior: Prior) -> SurrogateSpec:
    """For a strategy of your own, with a `GeneratorSpec` of `MetaboGenerators.METABO`."""
    config = ModelConfig(
        botorch_model_class=MixturePriorGP,
        model_options={"prior": prior},
        input_transform_classes=None,
        name="metabo",
    )
    return SurrogateSpec(model_configs=[config])


@submodel_input_constructor.register(MixturePriorGP)  # type: ignore[untyped-decorator]
def _model_inputs(
    botorch_model_class: type[Model],
    model_config: ModelConfig,
    dataset: SupervisedDataset,
    search_space_digest: SearchSpaceDigest,
    surrogate: Surrogate,
) -> dict[str, Any]:
    """The arguments of `MixturePriorGP`, whose output is the metric as Ax has it: not negated."""
    prior = model_config.model_options["prior"]
    _check_values(dataset)
    transform = _to_prior(prior.space, dataset.feature_names)
    bounds = torch.tensor(search_space_digest.bounds, dtype=torch.float64).T
    prior.space.check(transform.preprocess_transform(bounds), name="the experiment's bounds")
    return MixturePriorGP.construct_inputs(
        dataset,
        prior=prior.negated() if prior.minimize else prior,
        input_transform=transform,
    )


def _check_values(dataset: SupervisedDataset) -> None:
    if bool((dataset.Y.abs() > LARGEST).any()):
        raise ValueError(
            f"a value of {dataset.outcome_names[0]!r} is too large to compute with: mark that "
            "trial as failed, or choose another unit"
        )


@fit_botorch_model.register(MixturePriorGP)  # type: ignore[untyped-decorator]
def _fit(model: MixturePriorGP, mll_class: object, mll_options: object) -> None:
    """Nothing: the posterior is exact already."""


def _to_prior(space: InputSpace, features: list[str]) -> InputTransform:
    """From Ax's columns to the Prior's inputs."""
    if sorted(features) != sorted(space.names):
        raise SpaceError(
            f"the experiment has the parameters {features}, but the Prior has the inputs "
            f"{list(space.names)}: see parameters(prior)"
        )
    order = torch.tensor([features.index(name) for name in space.names])
    steps: dict[str, InputTransform] = {"order": FilterFeatures(order)}
    if space.log_dims:
        steps["scale"] = Log10(list(space.log_dims), reverse=True)
    return ChainedInputTransform(**steps)


def _prior_to_json(prior: Prior) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prior.safetensors"
        prior.save(path)
        return {"__type": "metabo.Prior", "file": base64.b64encode(path.read_bytes()).decode()}


def _prior_from_json(file: str) -> Prior:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prior.safetensors"
        path.write_bytes(base64.b64decode(file))
        return Prior.load(path)


register_model(MixturePriorGP)
register_transform(ChoiceToIndex)
CORE_ENCODER_REGISTRY[Prior] = _prior_to_json
CORE_DECODER_REGISTRY["metabo.Prior"] = _prior_from_json
CORE_DECODER_REGISTRY["MetaboGenerators"] = MetaboGenerators
