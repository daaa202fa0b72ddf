"""One file holds a model, and says what is wrong where it does not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from asymformer_ros.errors import CheckpointError, ConfigurationError, DependencyError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION, Normalization
from asymformer_ros.models.sizes import INPUT_SIZES
from asymformer_ros.network import CONFIGS, AsymFormerConfig, load_checkpoint

TINY = AsymFormerConfig(
    rgb_widths=(8, 16, 24, 32), rgb_blocks=(1, 1, 1, 1), depth_widths=(8, 8, 16, 40), depth_heads=(1, 2, 2, 4)
)


@pytest.fixture
def bundle() -> ModelBundle:
    return ModelBundle.untrained(TINY, label_set("sunrgbd_37"), seed=3, input_size=(64, 96))


def test_a_bundle_comes_back_from_its_file(bundle: ModelBundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "deep" / "model.safetensors")
    loaded = ModelBundle.load(tmp_path / "deep" / "model.safetensors")
    assert loaded.card == bundle.card
    assert loaded.network.config == bundle.network.config
    assert not loaded.network.training
    assert loaded.sha256 == bundle.sha256
    for key, tensor in bundle.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], tensor), key


def test_half_stores_large_matrices_in_fp16_and_loads_as_float32(bundle: ModelBundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "half.safetensors", half=True)
    with safe_open(tmp_path / "half.safetensors", "pt") as file:
        assert file.get_tensor("decoder.fuse.0.weight").dtype == torch.float16
        assert file.get_tensor("decoder.embed.0.weight").dtype == torch.float32  # few: rounding would not average out
        assert file.get_tensor("decoder.classify.bias").dtype == torch.float32
    weights = ModelBundle.load(tmp_path / "half.safetensors").network.decoder.fuse[0].weight
    assert weights.dtype == torch.float32
    assert torch.equal(weights, bundle.network.decoder.fuse[0].weight.half().float())


def test_weights_beyond_fp16_are_not_stored_by_half(bundle: ModelBundle, tmp_path: Path) -> None:
    bundle.network.decoder.fuse[0].weight.data[0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"decoder.fuse.0.weight has weights beyond FP16's 65504"):
        bundle.save(tmp_path / "half.safetensors", half=True)
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_model_and_leaves_the_global_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, same, other = (ModelBundle.untrained(TINY, label_set("nyuv2_13"), seed=seed) for seed in (0, 0, 1))
    assert one.sha256 == same.sha256 != other.sha256
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_untrained_model_says_so(bundle: ModelBundle) -> None:
    assert bundle.card.name == "untrained"
    assert "mean nothing" in bundle.card.provenance


def test_the_hash_depends_on_weights_and_card(bundle: ModelBundle) -> None:
    renamed = ModelBundle(replace(bundle.card, name="other"), bundle.network)
    assert renamed.sha256 != bundle.sha256
    before = bundle.sha256
    bundle.network.decoder.classify.bias.data[0] += 1
    assert bundle.sha256 != before


def test_classes_of_network_and_label_set_must_agree(bundle: ModelBundle) -> None:
    with pytest.raises(ConfigurationError, match="network has 37 classes but label set nyuv2_40 has 40"):
        ModelBundle(replace(bundle.card, label_set=label_set("nyuv2_40")), bundle.network)


def test_a_bundle_is_also_a_checkpoint(bundle: ModelBundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path / "model.safetensors").config == bundle.network.config


def test_saving_replaces_the_file_and_leaves_nothing_beside(bundle: ModelBundle, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("old")
    bundle.save(tmp_path / "model.safetensors")
    assert os.listdir(tmp_path) == ["model.safetensors"]
    ModelBundle.load(tmp_path / "model.safetensors")


def test_a_place_that_cannot_be_written_is_an_error(bundle: ModelBundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot write"):
        bundle.save(tmp_path / "file" / "model.safetensors")


def test_a_checkpoint_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "asymformer.pth")
    with pytest.raises(CheckpointError) as caught:
        ModelBundle.load(tmp_path / "asymformer.pth")
    assert f"`asymformer convert {tmp_path}/asymformer.pth asymformer_bundle.safetensors --label-set" in str(
        caught.value
    )


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="is no model bundle"):
        ModelBundle.load(tmp_path / "foreign.safetensors")


def test_a_missing_model_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="`rooms` comes with the package.* `asymformer weights download nyuv2`"):
        ModelBundle.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", "2", "bundle of version 2, this package reads version 1"),
        ("card", "{", "card that this version cannot read"),
        ("card", "{}", "card that this version cannot read"),
        ("card", "[]", "card that this version cannot read"),
        ("config", "{", "network that this version cannot build"),
        ("config", '{"colour": 3}', "network that this version cannot build"),
        ("config", "[]", "network that this version cannot build"),
        ("config", '{"num_classes": 0}', "num_classes must be 1..255"),
        ("config", "{}", "does not hold this AsymFormer"),
    ],
)
def test_damaged_metadata_are_refused(key: str, value: str, message: str, bundle: ModelBundle, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    bundle.save(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(bundle.network.state_dict(), path, {**metadata, key: value})
    with pytest.raises(CheckpointError, match=message):
        ModelBundle.load(path)


def test_a_card_of_other_classes_than_the_weights_is_refused(bundle: ModelBundle, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    bundle.save(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    card = replace(bundle.card, label_set=label_set("nyuv2_40"))
    save_file(bundle.network.state_dict(), path, {**metadata, "card": json.dumps(card.to_json())})
    with pytest.raises(CheckpointError, match="contradicts itself"):
        ModelBundle.load(path)


NUMBERS = st.floats(-10, 10)
POSITIVE = st.floats(0.01, 10)
CARDS = st.builds(
    ModelCard,
    name=st.text(min_size=1),
    label_set=st.sampled_from(["nyuv2_40", "nyuv2_13"]).map(label_set),
    normalization=st.builds(
        Normalization, st.tuples(*[NUMBERS] * 3), st.tuples(*[POSITIVE] * 3), depth_mean=NUMBERS, depth_std=POSITIVE
    ),
    input_size=st.tuples(st.integers(1, 40).map(lambda n: 32 * n), st.integers(1, 40).map(lambda n: 32 * n)),
    provenance=st.text(),
)


@given(CARDS)
def test_a_card_comes_back_from_json(card: ModelCard) -> None:
    assert ModelCard.from_json(json.loads(json.dumps(card.to_json()))) == card


@pytest.mark.parametrize("size", [(480, 650), (0, 640), (-32, 32), (250, 320)])
def test_an_input_size_that_the_network_cannot_take_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match=f"multiples of 32, got {size[0]}x{size[1]}"):
        ModelCard("a", label_set("nyuv2_13"), PUBLISHED_NORMALIZATION, size)


def test_without_pytorch_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "asymformer_ros.models.bundle")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match="bundles and checkpoints needs torch.*`pip install torch`"):
        importlib.import_module("asymformer_ros.models.bundle")


def test_every_network_with_a_name_takes_the_input_size_that_is_meant_for_it() -> None:
    assert CONFIGS.keys() == INPUT_SIZES.keys()
    for size in INPUT_SIZES.values():
        assert ModelCard("a", label_set("nyuv2_13"), PUBLISHED_NORMALIZATION, size).input_size == size


def test_a_card_needs_no_pytorch() -> None:
    code = "import sys, asymformer_ros.models.card; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1]).returncode == 0
