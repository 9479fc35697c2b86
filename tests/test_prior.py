"""A Prior, its file, and that no use changes it."""

import copy
import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.optim import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood
from safetensors.torch import load, save_file
from torch import Tensor

from metabo import prior_file
from metabo.optimizer import Optimizer
from metabo.prior import Prior, PriorFileError
from metabo.surrogates import MixturePriorGP

Observe = Callable[..., tuple[Tensor, Tensor]]
PROVENANCE = {
    "software": {"torch": "2.6", "python": "3.11"},
    "data": {"num_tasks": 12, "num_observations": 345},
    "seed": 7,
    "settings": {"hidden": [32, 32], "em": {"shrinkage": 0.5}, "few": None, "odd": 'naïve "x"'},
    "levels": True,
}


def predictions(prior: Prior) -> Tensor:
    X = prior.space.sample(9, seed=1)
    Y = torch.linspace(-1, 1, 4).double().unsqueeze(-1)
    posterior = MixturePriorGP(X[:4], Y, prior).posterior(X)
    return torch.cat([posterior.mean, posterior.variance])


def contents(prior: Prior) -> dict[str, Tensor]:
    layers = {f"layer {i}": layer.detach() for i, layer in enumerate(prior.network.layers)}
    return copy.deepcopy(prior.mixture.tensors() | layers)


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], None]) -> Path:
    """The file with its header or tensors changed, still a valid safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["metabo"])["header"]
    tensors = load(content)
    change(header, tensors)
    prior_file.write(path, header, tensors)
    return path


@pytest.fixture(params=["prior", "mixed_prior", "prior_of_points"])
def any_prior(request: pytest.FixtureRequest) -> Prior:
    found: Prior = request.getfixturevalue(request.param)
    return found


class TestFile:
    def test_predictions_are_bit_identical(self, any_prior: Prior, tmp_path: Path) -> None:
        path = tmp_path / "prior.safetensors"
        any_prior.save(path)
        loaded = Prior.load(str(path))
        assert torch.equal(predictions(loaded), predictions(any_prior))
        for name, value in contents(loaded).items():
            assert torch.equal(value, contents(any_prior)[name]), name
        assert loaded.space == any_prior.space
        loaded.save(tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()

    @pytest.mark.parametrize("minimize", [False, True])
    def test_provenance_and_direction(
        self, make_prior: Callable[..., Prior], tmp_path: Path, minimize: bool
    ) -> None:
        prior = make_prior(provenance=PROVENANCE, minimize=minimize, offset=-1e-7, scale=3e5)
        prior.save(tmp_path / "prior")
        loaded = Prior.load(tmp_path / "prior")
        assert loaded.provenance == PROVENANCE
        assert loaded.minimize is minimize
        assert (loaded.output_offset, loaded.output_scale) == (-1e-7, 3e5)
        assert repr(loaded) == "Prior(inputs=[x1, x2], components=4, training_tasks=12)"

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no prior at .*nowhere"):
            Prior.load(tmp_path / "nowhere")

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
    def test_truncated_file(self, prior: Prior, tmp_path: Path, share: float) -> None:
        path = tmp_path / "prior"
        prior.save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(PriorFileError, match="truncated, damaged"):
            Prior.load(path)

    def test_flipped_bits_in_the_header_are_noticed(self, prior: Prior, tmp_path: Path) -> None:
        """Or else change nothing that counts, as in the text of a version."""
        path = tmp_path / "prior"
        prior.save(path)
        content, expected = path.read_bytes(), predictions(prior)
        length = struct.unpack("<Q", content[:8])[0]
        noticed = 0
        for position in range(0, 8 + length, 7):
            damaged = bytearray(content)
            damaged[position] ^= 1 << (position % 7)
            path.write_bytes(damaged)
            try:
                assert predictions(Prior.load(path)).shape == expected.shape
            except PriorFileError:
                noticed += 1
        assert noticed > (8 + length) // 7 // 2

    def test_foreign_files(self, prior: Prior, tmp_path: Path) -> None:
        path = tmp_path / "other"
        save_file({"weight": torch.zeros(3)}, path)
        with pytest.raises(PriorFileError, match="not one that metabo wrote"):
            Prior.load(path)
        save_file({"weight": torch.zeros(3)}, path, {"metabo": '{"format": "other"}'})
        with pytest.raises(PriorFileError, match="not one that metabo wrote"):
            Prior.load(path)
        save_file({"weight": torch.zeros(3)}, path, {"metabo": "{"})
        with pytest.raises(PriorFileError, match="header"):
            Prior.load(path)
        torch.save(contents(prior), path)
        with pytest.raises(PriorFileError, match="not a prior file"):
            Prior.load(path)
        path.write_text("x,y\n1,2\n")
        with pytest.raises(PriorFileError, match="not a prior file"):
            Prior.load(path)

    @pytest.mark.parametrize("version", [0, 4])
    def test_older_format(self, prior: Prior, tmp_path: Path, version: int) -> None:
        path = tmp_path / "prior"
        prior.save(path)
        rewritten(path, lambda header, _: header.update(format_version=version))
        with pytest.raises(PriorFileError, match=f"prior format {version}, .* train it again"):
            Prior.load(path)

    @pytest.mark.parametrize("version", [6, 99, "1", None])
    def test_newer_format(self, prior: Prior, tmp_path: Path, version: object) -> None:
        path = tmp_path / "prior"
        prior.save(path)
        rewritten(path, lambda header, _: header.update(format_version=version))
        with pytest.raises(PriorFileError, match="upgrade metabo"):
            Prior.load(path)

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    @pytest.mark.parametrize("name", ["mixture.means", "network.0", "mixture.lengthscales"])
    def test_tensors_that_are_not_finite(
        self, prior: Prior, tmp_path: Path, name: str, value: float
    ) -> None:
        path = tmp_path / "prior"
        prior.save(path)
        rewritten(path, lambda _, tensors: tensors[name].view(-1)[0].fill_(value))
        with pytest.raises(PriorFileError, match=f"{name} is not finite"):
            Prior.load(path)

    @pytest.mark.parametrize("name", ["mixture.means", "mixture.roots", "network.1"])
    def test_tensors_of_another_shape_or_missing(
        self, prior: Prior, tmp_path: Path, name: str
    ) -> None:
        path = tmp_path / "prior"
        prior.save(path)
        rewritten(path, lambda _, tensors: tensors.update({name: tensors[name][:1].clone()}))
        with pytest.raises(PriorFileError, match=name):
            Prior.load(path)
        prior.save(path)
        rewritten(path, lambda _, tensors: tensors.pop(name))
        with pytest.raises(PriorFileError, match="damaged"):
            Prior.load(path)

    @pytest.mark.parametrize(
        "name", ["network", "space", "output_scale", "provenance", "plain", "warp"]
    )
    def test_header_without_a_field(self, prior: Prior, tmp_path: Path, name: str) -> None:
        path = tmp_path / "prior"
        prior.save(path)
        rewritten(path, lambda header, _: header.pop(name))
        with pytest.raises(PriorFileError, match=name):
            Prior.load(path)

    def test_interrupted_save_leaves_the_old_file(
        self, make_prior: Callable[..., Prior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = make_prior(seed=0), make_prior(seed=1)
        path = tmp_path / "prior"
        old.save(path)

        def interrupted(handle: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            new.save(path)
        assert torch.equal(predictions(Prior.load(path)), predictions(old))
        assert os.listdir(tmp_path) == ["prior"]

    def test_the_folder_is_made(self, prior: Prior, tmp_path: Path) -> None:
        prior.save(tmp_path / "new" / "prior")
        assert torch.equal(predictions(Prior.load(tmp_path / "new" / "prior")), predictions(prior))

    def test_flipped_bits_in_the_tensors_are_noticed(self, prior: Prior, tmp_path: Path) -> None:
        path = tmp_path / "prior"
        prior.save(path)
        content = path.read_bytes()
        start = 8 + struct.unpack("<Q", content[:8])[0]
        for position in range(start, len(content), 97):
            damaged = bytearray(content)
            damaged[position] ^= 1 << (position % 7)
            path.write_bytes(damaged)
            with pytest.raises(PriorFileError, match="checksum"):
                Prior.load(path)


class TestUse:
    def test_network_is_a_frozen_copy_in_double_precision(
        self, make_prior: Callable[..., Prior], prior: Prior
    ) -> None:
        network = copy.deepcopy(prior.network).float().requires_grad_(True).train()
        other = Prior(network, prior.mixture, prior.space, 0.0, 1.0)
        assert network.layers[0].dtype == torch.float32
        assert network.layers[0].requires_grad
        assert other.network.layers[0].dtype == torch.float64
        assert not any(p.requires_grad for p in other.network.parameters())

    def test_no_use_changes_it(self, prior: Prior, observe: Observe) -> None:
        before = contents(prior)
        X, Y = observe(prior, 5)
        model = MixturePriorGP(X, Y, prior)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        acquisition = LogExpectedImprovement(model, best_f=Y.max())
        optimize_acqf(
            acquisition,
            prior.space.bounds,
            q=1,
            num_restarts=1,
            raw_samples=8,
            options={"maxiter": 3, "seed": 0},
        )
        model.condition_on_observations(X, Y).to(torch.float32).posterior(X.float())
        MixturePriorGP(X.float(), Y.float(), prior).float().train()
        optimizer = Optimizer(prior)
        optimizer.tell(optimizer.ask(), 1.0)
        for name, value in contents(prior).items():
            assert value.dtype == before[name].dtype
            assert torch.equal(value, before[name]), name
        assert all(layer.grad is None for layer in prior.network.layers)

    def test_features_are_those_of_the_network_at_encoded_inputs(self, mixed_prior: Prior) -> None:
        X = mixed_prior.space.sample(6, seed=0).reshape(2, 3, 3)
        features, inputs = mixed_prior.encode(X)
        assert torch.equal(inputs, mixed_prior.space.encode(X))
        assert features.shape == (2, 3, mixed_prior.network.num_features)
        assert torch.equal(features, mixed_prior.network.features(inputs))

    def test_effects_are_the_first_feature(self, prior_of_points: Prior) -> None:
        prior, known = prior_of_points, prior_of_points.known
        assert known is not None
        X = torch.cat([prior.space.sample(30, seed=0), prior.space.sample(5, seed=1)])
        features, inputs = prior.encode(X)
        assert features.shape == (35, prior.num_features)
        assert prior.num_features == prior.network.num_features + 1
        assert torch.equal(features[:30, 0], known.effects)
        assert not features[30:, 0].any()
        assert torch.equal(features[:, 1:], prior.network.features(inputs))

    def test_a_known_point_is_better_by_its_effect(self, prior_of_points: Prior) -> None:
        prior, known = prior_of_points, prior_of_points.known
        assert known is not None
        without = replace(prior, known=replace(known, effects=torch.zeros(30).double()))
        X, nothing = prior.space.sample(30, seed=0), torch.zeros(0, 2).double()
        of_family = (~prior.mixture.is_broad).nonzero().squeeze(-1)
        gain = [
            MixturePriorGP(nothing, nothing[:, :1], each.select(of_family)).posterior(X)
            for each in (prior, without)
        ]
        expected = 0.7 * known.effects * prior.output_scale
        assert torch.allclose((gain[0].mean - gain[1].mean).squeeze(-1), expected)
        spread = (0.4 * known.effects * prior.output_scale).square()
        assert torch.allclose((gain[0].variance - gain[1].variance).squeeze(-1), spread)

    def test_copy_on_a_device(self, prior: Prior) -> None:
        copied = prior.to("cpu")
        assert copied.device == torch.device("cpu")
        assert copied.network is not prior.network
        assert torch.equal(predictions(copied), predictions(prior))


def test_the_negated_prior_predicts_the_negative(prior: Prior, observe: Observe) -> None:
    X, Y = observe(prior, 5)
    grid = prior.space.sample(9, seed=3)
    ours, negated = MixturePriorGP(X, Y, prior), MixturePriorGP(X, -Y, prior.negated())
    assert torch.allclose(negated.posterior(grid).mean, -ours.posterior(grid).mean)
    assert torch.allclose(negated.posterior(grid).variance, ours.posterior(grid).variance)
    assert torch.allclose(negated.log_evidence, ours.log_evidence)
    assert prior.negated().minimize != prior.minimize
    assert (prior.sign, prior.negated().sign) == (1.0, -1.0)
