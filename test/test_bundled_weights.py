"""The weights that come with the package: their scores on frames that nobody trained on, and that both files agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from conftest import not_ours
from numpy.typing import NDArray

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")

from asymformer_ros.datasets import hold_out, open_data_set
from asymformer_ros.datasets.labelled import LabelledFrame
from asymformer_ros.evaluation.confusion import ConfusionMatrix, Scores
from asymformer_ros.evaluation.depth_loss import dropout
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.selection import open_backend
from asymformer_ros.models.catalogue import DEMO, ROOMS, KnownWeights
from asymformer_ros.models.labels import label_set


def held_out_of_nyuv2() -> list[LabelledFrame]:
    """A quarter of the frames that were held out."""
    _, held = hold_out(open_data_set(not_ours("nyuv2_train"), "train"), 0.142)
    return [held[index] for index in range(0, len(held), 4)]


def simulated_rooms() -> list[LabelledFrame]:
    """One frame of each of 60 rooms that neither training nor its evaluation has seen."""
    pytest.importorskip("embreex", reason="needs Embree: pip install trimesh embreex (x86_64)")
    from asymformer_ros.simulation.data_set import TEST_SEEDS
    from asymformer_ros.simulation.world import World

    camera, frames = Intrinsics.typical(320, 240), []
    for number in range(60):
        world = World(3 * TEST_SEEDS + number)
        image = world.photograph(world.drive.pose(world.drive.seconds / 2), camera, 0)
        assert image.labels is not None
        frames.append(LabelledFrame(RgbdFrame(image.rgb, metres_from_millimetres(image.depth)), image.labels))
    return frames


@dataclass(frozen=True)
class Bundled:
    """Weights, frames that they have not seen, and what they reach on these: docs/weights.md has more frames."""

    weights: KnownWeights
    unseen: Callable[[], list[LabelledFrame]]
    mean_iou: float
    pixel_accuracy: float
    kept_without_depth: float
    sources: tuple[str, ...]


ALL = (
    Bundled(ROOMS, held_out_of_nyuv2, 0.35, 0.68, 0.75, ("NYUv2", "EfficientNet-Lite2", "Apache-2.0")),
    Bundled(DEMO, simulated_rooms, 0.55, 0.83, 0.0, ("world",)),
)


@pytest.fixture(scope="module", params=ALL, ids=lambda bundled: bundled.weights.name)
def bundled(request: pytest.FixtureRequest) -> Bundled:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def unseen(bundled: Bundled) -> list[LabelledFrame]:
    return bundled.unseen()


def segment(name: str, backend: str, frames: list[RgbdFrame]) -> list[NDArray[np.uint8]]:
    with Segmenter(open_backend(backend, name, "cpu")) as segmenter:
        return [segmenter.segment(frame).labels for frame in frames]


def scores(truth: list[LabelledFrame], labels: list[NDArray[np.uint8]]) -> Scores:
    confusion = ConfusionMatrix(40)
    for one, answer in zip(truth, labels, strict=True):
        confusion.add(one.labels, answer)
    return confusion.scores()


def test_they_are_right_where_they_were_not_trained_and_use_colour_and_depth(
    bundled: Bundled, unseen: list[LabelledFrame]
) -> None:
    frames = [one.frame for one in unseen]
    no_depth = [dropout(1.0).apply(frame, 0) for frame in frames]
    grey = [RgbdFrame(np.full_like(frame.rgb, 128), frame.depth) for frame in frames[:10]]
    full, blind, colourless = (segment(bundled.weights.name, "onnxruntime", some) for some in (frames, no_depth, grey))
    reached = scores(unseen, full)
    assert reached.mean_iou_present > bundled.mean_iou
    assert reached.pixel_accuracy > bundled.pixel_accuracy
    assert scores(unseen, blind).mean_iou_present > bundled.kept_without_depth * reached.mean_iou_present
    for poor in (blind[:10], colourless):
        assert np.mean([(a != b).mean() for a, b in zip(full[:10], poor, strict=True)]) > 0.05


def test_rooms_sees_in_a_kitchen_what_is_in_a_kitchen_and_hardly_flickers() -> None:
    recording = RgbdRecording(not_ours("kitchen_sequence"))
    labels = segment("rooms", "onnxruntime", [recording[index] for index in range(20, 30)])
    assert np.mean([(before != after).mean() for before, after in pairwise(labels)]) < 0.1
    names = np.array(label_set("nyuv2_40").names)
    seen = {str(name) for name in names[np.bincount(np.concatenate(labels).ravel(), minlength=256)[:40] > 20_000]}
    assert {"floor", "table", "chair", "cabinet"} <= seen


def test_both_files_answer_the_same(bundled: Bundled, unseen: list[LabelledFrame]) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    frames = [one.frame for one in unseen[:8]]
    pairs = zip(*(segment(bundled.weights.name, backend, frames) for backend in ("torch", "onnxruntime")), strict=True)
    assert np.mean([(one == other).mean() for one, other in pairs]) > 0.999


def test_the_onnx_file_was_made_of_the_bundle_whose_card_says_where_it_comes_from(bundled: Bundled) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.opening import open_model

    weights = bundled.weights
    bundle = ModelBundle.load(weights.bundle)
    assert open_model(str(weights.onnx)).model_sha256 == bundle.sha256
    assert (bundle.card.name, bundle.card.label_set.name) == (weights.name, weights.label_set)
    for source in bundled.sources:
        assert source in bundle.card.provenance


def test_they_are_as_large_as_is_said_and_at_most_40_mb_in_all(bundled: Bundled) -> None:
    assert round(bundled.weights.bundle.stat().st_size / 1e6) == bundled.weights.megabytes
    assert sum(path.stat().st_size for one in ALL for path in (one.weights.bundle, one.weights.onnx)) <= 40e6
