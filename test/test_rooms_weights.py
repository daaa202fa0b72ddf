"""The weights for real rooms that come with the package: their scores on frames that were held out, and both files."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from conftest import not_ours

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")

from asymformer_ros.datasets import hold_out, open_data_set
from asymformer_ros.datasets.labelled import LabelledFrame
from asymformer_ros.evaluation.confusion import ConfusionMatrix, Scores
from asymformer_ros.evaluation.depth_loss import AS_IT_IS, dropout
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.catalogue import DEMO, ROOMS
from asymformer_ros.models.labels import label_set

EVERY = 4  # of the frames that were held out


@pytest.fixture(scope="module")
def held_out() -> list[LabelledFrame]:
    _, held = hold_out(open_data_set(not_ours("nyuv2_train"), "train"), 0.142)
    return [held[index] for index in range(0, len(held), EVERY)]


@pytest.fixture(scope="module")
def moments() -> list[RgbdFrame]:
    """Ten frames of a recording at 30 Hz."""
    recording = RgbdRecording(not_ours("kitchen_sequence"))
    return [recording[index] for index in range(20, 30)]


def segment(backend: str, frames: list[RgbdFrame]) -> list[np.ndarray]:
    segmenter = Segmenter(open_backend(backend, "rooms", "cpu"))
    return [segmenter.segment(frame).labels for frame in frames]


def scores(labelled: list[LabelledFrame], *, with_depth: bool) -> Scores:
    confusion = ConfusionMatrix(40)
    condition = AS_IT_IS if with_depth else dropout(1.0)
    frames = [condition.apply(one.frame, index) for index, one in enumerate(labelled)]
    for one, labels in zip(labelled, segment("onnxruntime", frames), strict=True):
        confusion.add(one.labels, labels)
    return confusion.scores()


def test_they_segment_rooms_that_were_held_out_with_and_without_depth(held_out: list[LabelledFrame]) -> None:
    full, colour_alone = scores(held_out, with_depth=True), scores(held_out, with_depth=False)
    assert full.pixel_accuracy > 0.68
    assert full.mean_iou_present > 0.35, "these are a quarter of the frames: docs/weights.md has all of them"
    assert colour_alone.mean_iou_present > 0.75 * full.mean_iou_present


def test_a_kitchen_hardly_flickers_and_has_what_is_in_a_kitchen(moments: list[RgbdFrame]) -> None:
    labels = segment("onnxruntime", moments)
    assert np.mean([(before != after).mean() for before, after in pairwise(labels)]) < 0.1
    names = np.array(label_set("nyuv2_40").names)
    seen = {str(name) for name in names[np.bincount(np.concatenate(labels).ravel(), minlength=256)[:40] > 20_000]}
    assert {"floor", "table", "chair", "cabinet"} <= seen


def test_both_files_answer_the_same(moments: list[RgbdFrame]) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    pairs = zip(segment("torch", moments[:4]), segment("onnxruntime", moments[:4]), strict=True)
    assert np.mean([(one == other).mean() for one, other in pairs]) > 0.999


def test_the_onnx_file_was_made_of_the_bundle_whose_card_says_where_it_comes_from() -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.opening import open_model

    bundle = ModelBundle.load(ROOMS.bundle)
    assert open_model(str(ROOMS.onnx)).model_sha256 == bundle.sha256
    assert (bundle.card.name, bundle.card.label_set.name) == ("rooms", "nyuv2_40")
    for source in ("NYUv2", "EfficientNet-Lite2", "Apache-2.0"):
        assert source in bundle.card.provenance


def test_all_weights_are_at_most_40_mb() -> None:
    assert sum(path.stat().st_size for known in (ROOMS, DEMO) for path in (known.bundle, known.onnx)) <= 40e6
    assert round(ROOMS.bundle.stat().st_size / 1e6) == ROOMS.megabytes
