"""The published multi-scale sum, against its plain reading: one tensor of scores of each size, resized and summed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="several scales are PyTorch's")
from torch.nn import functional

from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.multi_scale import MultiScaleSegmenter
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.torch import TorchBackend
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.network import CONFIGS

INPUT = (96, 128)
SIZE = (90, 120)  # of the frame


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    made = ModelBundle.untrained(CONFIGS["small"], label_set("nyuv2_40"), input_size=INPUT)
    made.network.decoder.classify.weight.data *= 100
    return made


@pytest.fixture(scope="module")
def backend(bundle: ModelBundle) -> TorchBackend:
    return TorchBackend.open(Model(Path("m"), bundle.card, bundle=bundle), "cpu")


@pytest.fixture(scope="module")
def frame() -> RgbdFrame:
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    depth = rng.uniform(0.5, 6, (9, 12)).astype(np.float32).repeat(10, 0).repeat(10, 1)
    return RgbdFrame(cv2.resize(coarse, SIZE[::-1]), depth)  # type: ignore[arg-type]


def plain_sum(bundle: ModelBundle, frame: RgbdFrame, sizes: list[tuple[int, int]], flip: bool) -> torch.Tensor:
    """Of the unfolded network, from its normalised inputs on."""
    mean, std = (torch.tensor(values) for values in (PUBLISHED_NORMALIZATION.rgb_mean, PUBLISHED_NORMALIZATION.rgb_std))
    total = torch.zeros(40, *SIZE)
    for height, width in sizes:
        rgb = cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_LINEAR)
        depth = cv2.resize(frame.depth, (width, height), interpolation=cv2.INTER_NEAREST)
        colour = ((torch.from_numpy(rgb) / 255 - mean) / std).permute(2, 0, 1)[None]
        metres = (torch.from_numpy(np.rint(depth * 1000) / 1000).float() - PUBLISHED_NORMALIZATION.depth_mean)[
            None, None
        ]
        metres = metres / PUBLISHED_NORMALIZATION.depth_std
        for mirrored in (False, True)[: 1 + flip]:
            inputs = (one.flip(-1) if mirrored else one for one in (colour, metres))
            with torch.no_grad():
                scores = bundle.network(*inputs)
            scores = functional.interpolate(scores, size=SIZE, mode="bilinear", align_corners=True)[0]
            total += scores.flip(-1) if mirrored else scores
    return total


@pytest.mark.parametrize("flip", [False, True])
def test_scores_of_three_sizes_are_summed_as_published(
    bundle: ModelBundle, backend: TorchBackend, frame: RgbdFrame, flip: bool
) -> None:
    segmenter = MultiScaleSegmenter(backend, flip=flip)
    assert segmenter.sizes == [(96, 128), (128, 160), (128, 192)]  # 115x154 and 134x179, to multiples of 32
    answer = segmenter.segment(frame, with_confidence=True)
    total = plain_sum(bundle, frame, segmenter.sizes, flip)
    assert (answer.labels == total.argmax(0).numpy()).mean() > 0.999
    share = (total / len(segmenter.sizes) / (1 + flip)).softmax(0).amax(0).numpy() * 255
    assert answer.confidence is not None
    assert np.abs(answer.confidence - share).max() < 1.5
    assert len(np.unique(answer.labels)) > 2
    single = Segmenter(backend).segment(frame).labels
    assert 0.3 < (answer.labels == single).mean() < 0.9999


def test_the_sizes_are_the_published_ones_for_a_network_of_480x640() -> None:
    class Full:
        card = ModelCard("full", label_set("nyuv2_40"), PUBLISHED_NORMALIZATION)

    assert MultiScaleSegmenter(Full()).sizes == [(480, 640), (576, 768), (672, 896)]  # type: ignore[arg-type]


def test_confidence_is_given_where_it_is_asked_for(backend: TorchBackend, frame: RgbdFrame) -> None:
    answer = MultiScaleSegmenter(backend, (1.0,)).segment(frame)
    assert answer.confidence is None
    assert answer.labels.shape == SIZE
