"""EfficientNet-Lite as RGB branch, and the layers that make training on a CPU quick."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.labels import label_set
from asymformer_ros.network import ROOMS, SMALL, AsymFormer, AsymFormerConfig
from asymformer_ros.network.checkpoint import config_from_json, config_to_json
from asymformer_ros.network.decoder import Decoder, map_linear, resize
from asymformer_ros.network.efficientnet import EfficientNetStage, InvertedResidual, stage_blocks, stage_widths
from asymformer_ros.network.layers import DepthwiseConv2d

PARAMETERS = {"efficientnet-lite0": 4_652_008, "efficientnet-lite1": 5_416_680, "efficientnet-lite2": 6_092_072}
"""Of the published networks, head (1x1 convolution to 1280, its norm, 1000 classes) included."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_an_rgb_branch_has_the_published_networks_size_without_its_head(name: str) -> None:
    last = stage_widths(name)[-1]
    head = last * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    with torch.device("meta"):
        stages = [EfficientNetStage(name, index) for index in range(4)]
    assert sum(p.numel() for stage in stages for p in stage.parameters()) == PARAMETERS[name] - head


@pytest.mark.parametrize(
    ("name", "widths", "blocks"),
    [
        ("efficientnet-lite0", (24, 40, 112, 320), (3, 2, 6, 5)),
        ("efficientnet-lite2", (24, 48, 120, 352), (4, 3, 8, 6)),
    ],
)
def test_widths_and_blocks_are_the_published_ones(name: str, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    assert (stage_widths(name), stage_blocks(name)) == (widths, blocks)


def test_the_network_for_rooms_has_logits_and_gradients() -> None:
    network = AsymFormer(ROOMS).train()
    logits = network.forward_stride4(torch.randn(2, 3, 64, 96), torch.randn(2, 1, 64, 96))
    assert logits.shape == (2, 40, 16, 24)
    logits.square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rgb_backbone": "resnet50"}, "convnext or one of efficientnet-lite0.*got resnet50"),
        ({"rgb_widths": (24, 40, 112, 320)}, r"efficientnet-lite2 has rgb_widths \(24, 48, 120, 352\)"),
        ({"rgb_blocks": (1, 1, 1, 1)}, r"rgb_blocks \(4, 3, 8, 6\), got .*\(1, 1, 1, 1\)"),
    ],
)
def test_a_backbone_that_does_not_exist_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AsymFormerConfig(**{**asdict(ROOMS), **change})  # type: ignore[arg-type]


def test_a_configuration_of_before_there_was_a_choice_is_read_and_written_unchanged() -> None:
    text = config_to_json(SMALL)
    assert "rgb_backbone" not in json.loads(text)
    assert config_from_json(Path("old.safetensors"), text) == SMALL
    assert config_from_json(Path("new.safetensors"), config_to_json(ROOMS)) == ROOMS


def test_a_bundle_keeps_the_network_for_rooms(tmp_path: Path) -> None:
    bundle = ModelBundle.untrained(ROOMS, label_set("nyuv2_40"), input_size=(64, 96))
    bundle.save(tmp_path / "rooms.safetensors")
    loaded = ModelBundle.load(tmp_path / "rooms.safetensors")
    assert loaded.network.config == ROOMS
    assert loaded.sha256 == bundle.sha256


def test_paths_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    stage = EfficientNetStage("efficientnet-lite0", 1)
    for block in stage.modules():
        if isinstance(block, InvertedResidual):
            block.drop_path.rate = 0.5
    x = torch.randn(16, 24, 16, 16)
    assert not torch.equal(stage(x), stage(x))
    stage.eval()
    assert torch.equal(stage(x), stage(x))


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_depthwise_convolution_in_bfloat16_has_the_gradients_of_float32(kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = DepthwiseConv2d(16, kernel, stride=stride, bias=bias)
    x = torch.randn(2, 16, 12, 20, requires_grad=True)
    found = []
    for half in (False, True):
        conv.zero_grad()
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = conv(x)
        assert y.dtype == (torch.bfloat16 if half else torch.float32)
        y.float().square().sum().backward()
        assert x.grad is not None
        found.append([y.detach().float(), x.grad.clone(), *(p.grad.clone() for p in conv.parameters())])  # type: ignore[union-attr]
    for exact, rounded in zip(*found, strict=True):
        assert (rounded - exact).norm() < 0.02 * exact.norm()


def test_the_decoder_does_what_the_figure_shows_in_another_order() -> None:
    torch.manual_seed(0)
    decoder = Decoder((8, 16, 24, 32), 16, 5).eval()
    maps = [torch.randn(2, width, 16 >> index, 24 >> index) for index, width in enumerate((8, 16, 24, 32))]
    embedded = [resize(map_linear(embed, x), (16, 24)) for embed, x in zip(decoder.embed, maps, strict=True)]
    expected = decoder.classify(decoder.fuse(torch.cat(embedded[::-1], dim=1)))
    torch.testing.assert_close(decoder(maps), expected)


def test_a_network_that_has_answered_in_inference_mode_can_be_trained() -> None:
    network = AsymFormer(replace(ROOMS, num_classes=3))
    rgb, depth = torch.randn(2, 3, 32, 160), torch.randn(2, 1, 32, 160)
    with torch.inference_mode():
        network(rgb, depth)
    network(rgb, depth).square().mean().backward()


def test_batch_normalisation_of_the_branch_has_the_published_epsilon() -> None:
    norms = [m for m in EfficientNetStage("efficientnet-lite2", 0).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
