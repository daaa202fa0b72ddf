"""The network answers as the published one does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import GOLDEN_FILE, published_state
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.network import FULL, SMALL, AsymFormer, AsymFormerConfig
from asymformer_ros.network.fusion import Lafs
from asymformer_ros.network.published import translate_published

TINY = AsymFormerConfig(
    num_classes=5,
    rgb_widths=(8, 16, 24, 32),
    rgb_blocks=(1, 1, 2, 1),
    depth_widths=(8, 8, 16, 40),
    depth_blocks=(1, 1, 1, 1),
    depth_heads=(1, 2, 2, 4),
    decoder_width=16,
)
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    return dict(np.load(GOLDEN_FILE))


@pytest.fixture(scope="module")
def network() -> AsymFormer:
    network = AsymFormer()
    network.load_state_dict(translate_published(published_state()))
    return network.eval()


def relative_error(ours: torch.Tensor, theirs: NDArray[np.float32]) -> float:
    """Largest difference in standard deviations of the golden values."""
    return float(np.abs(ours.detach().numpy() - theirs).max() / theirs.std())


def tiny_inputs(batch: int = 1, height: int = 64, width: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(batch, 3, height, width, generator=generator),
        torch.randn(batch, 1, height, width, generator=generator),
    )


def test_logits_are_the_published_networks(network: AsymFormer, golden: dict[str, NDArray[np.float32]]) -> None:
    with torch.inference_mode():
        logits = network(torch.from_numpy(golden["rgb"]), torch.from_numpy(golden["depth"]))
    assert logits.shape == (1, 40, 64, 96)
    assert relative_error(logits, golden["logits"]) < TOLERANCE


def test_every_stage_is_the_published_networks(network: AsymFormer, golden: dict[str, NDArray[np.float32]]) -> None:
    with torch.inference_mode():
        maps = network.features(torch.from_numpy(golden["rgb"]), torch.from_numpy(golden["depth"]))
    for index, (rgb, fused) in enumerate(maps, start=1):
        assert relative_error(rgb, golden[f"stage{index}_rgb"]) < TOLERANCE
        assert relative_error(fused, golden[f"stage{index}_fused"]) < TOLERANCE


def test_each_frame_of_a_batch_is_answered_alone(network: AsymFormer, golden: dict[str, NDArray[np.float32]]) -> None:
    rgb, depth = torch.from_numpy(golden["rgb"]), torch.from_numpy(golden["depth"])
    with torch.inference_mode():
        logits = network(torch.cat((rgb, rgb.flip(3))), torch.cat((depth, depth.flip(3))))
        flipped = network(rgb.flip(3), depth.flip(3))
    assert relative_error(logits[:1], golden["logits"]) < TOLERANCE
    assert relative_error(logits[1:], flipped.numpy()) < TOLERANCE


def test_the_published_network_has_33_million_parameters() -> None:
    with torch.device("meta"):
        network = AsymFormer(FULL)
    assert sum(parameter.numel() for parameter in network.parameters()) == 33_059_576


def test_the_small_network_has_3_million_parameters() -> None:
    with torch.device("meta"):
        network = AsymFormer(SMALL)
    assert 3e6 < sum(parameter.numel() for parameter in network.parameters()) < 4e6


def test_logits_at_stride_4_become_the_logits_by_one_bilinear_resize() -> None:
    network = AsymFormer(TINY).eval()
    rgb, depth = tiny_inputs(batch=2)
    with torch.inference_mode():
        quarter = network.forward_stride4(rgb, depth)
        whole = network(rgb, depth)
    assert quarter.shape == (2, 5, 16, 24)
    assert whole.shape == (2, 5, 64, 96)
    torch.testing.assert_close(torch.nn.functional.interpolate(quarter, scale_factor=4, mode="bilinear"), whole)


def test_the_smallest_image_has_logits() -> None:
    assert AsymFormer(TINY).eval()(*tiny_inputs(height=32, width=32)).shape == (1, 5, 32, 32)


def test_the_layout_of_the_input_in_memory_does_not_matter() -> None:
    network = AsymFormer(TINY).eval()
    rgb, depth = tiny_inputs()
    with torch.inference_mode():
        torch.testing.assert_close(
            network(rgb.contiguous(memory_format=torch.channels_last), depth), network(rgb, depth)
        )


def test_every_parameter_has_a_gradient() -> None:
    network = AsymFormer(TINY).train()
    network(*tiny_inputs(batch=2)).square().mean().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []


def test_lafs_of_the_widest_stage_stays_right_in_half_precision() -> None:
    lafs = Lafs(1024).eval()
    x = torch.randn(1, 1024, 4, 6, generator=torch.Generator().manual_seed(0)) + 3
    for parameter in lafs.parameters():
        parameter.data.uniform_(0, 0.2, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = lafs(x)
        half = lafs.half()(x.half()).float()
    torch.testing.assert_close(half, expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("height", "width"), [(480, 650), (50, 64)])
def test_another_size_is_refused_by_name(height: int, width: int) -> None:
    with pytest.raises(ConfigurationError, match=f"multiples of 32, got {height}x{width}"):
        AsymFormer(TINY)(*tiny_inputs(height=height, width=width))


def test_depth_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="rgb is 64x96 but depth is 32x96"):
        AsymFormer(TINY)(tiny_inputs()[0], tiny_inputs(height=32)[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 0}, "num_classes must be 1..255, got 0"),
        ({"num_classes": 256}, "num_classes must be 1..255, got 256"),
        ({"decoder_width": 0}, "decoder_width"),
        ({"rgb_widths": (8, 16, 24)}, "rgb_widths needs four values"),
        ({"rgb_blocks": (1, 0, 1, 1)}, "rgb_blocks needs four values of at least 1"),
        ({"rgb_widths": (8, 12, 16, 24)}, "multiples of 8"),
        ({"depth_heads": (1, 3, 2, 4)}, "no multiple of its 3 heads"),
        ({"depth_reductions": (8, 4, 4, 1)}, "reduction of stage 3 must divide 2, got 4"),
    ],
)
def test_a_configuration_without_a_network_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        replace(TINY, **change)  # type: ignore[arg-type]
