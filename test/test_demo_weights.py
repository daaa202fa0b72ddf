"""The weights that come with the package: their score on rooms that nobody trained on, and that both files agree."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("embreex", reason="needs Embree: pip install trimesh embreex (x86_64)")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")

from asymformer_ros.evaluation.confusion import ConfusionMatrix
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.catalogue import DEMO
from asymformer_ros.simulation.data_set import TEST_SEEDS
from asymformer_ros.simulation.world import World

FRAMES = 60


@pytest.fixture(scope="module")
def unseen() -> list[RawRgbd]:
    """One frame of each of some rooms that neither training nor its evaluation has seen."""
    camera, worlds = Intrinsics.typical(320, 240), [World(3 * TEST_SEEDS + number) for number in range(FRAMES)]
    return [world.photograph(world.drive.pose(world.drive.seconds / 2), camera, 0) for world in worlds]


def segment(backend: str, images: list[RawRgbd]) -> list[np.ndarray]:
    segmenter = Segmenter(open_backend(backend, "demo", "cpu"))
    frames = [RgbdFrame(image.rgb, metres_from_millimetres(image.depth)) for image in images]
    return [segmenter.segment(frame).labels for frame in frames]


def test_they_segment_rooms_that_they_have_never_seen(unseen: list[RawRgbd]) -> None:
    confusion = ConfusionMatrix(40)
    for image, labels in zip(unseen, segment("onnxruntime", unseen), strict=True):
        assert image.labels is not None
        confusion.add(image.labels, labels)
    scores = confusion.scores()
    assert scores.mean_iou_present > 0.55, "0.65 of 400 frames; these are few"
    assert scores.pixel_accuracy > 0.83


def test_colour_and_depth_both_count(unseen: list[RawRgbd]) -> None:
    """Without one of them the labels get clearly worse."""
    full = segment("onnxruntime", unseen[:10])
    no_depth = [RawRgbd(image.rgb, np.zeros_like(image.depth)) for image in unseen[:10]]
    grey = [RawRgbd(np.full_like(image.rgb, 128), image.depth) for image in unseen[:10]]
    for poor in (no_depth, grey):
        changed = [(a != b).mean() for a, b in zip(full, segment("onnxruntime", poor), strict=True)]
        assert np.mean(changed) > 0.05


def test_the_onnx_file_answers_what_the_bundle_answers(unseen: list[RawRgbd]) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    pairs = zip(segment("torch", unseen[:10]), segment("onnxruntime", unseen[:10]), strict=True)
    assert np.mean([(a == b).mean() for a, b in pairs]) > 0.9999


def test_the_onnx_file_was_made_of_the_bundle() -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.opening import open_model

    bundle = ModelBundle.load(DEMO.bundle)
    assert open_model(str(DEMO.onnx)).model_sha256 == bundle.sha256
    assert bundle.card.name == "demo"
    assert bundle.card.label_set.name == "nyuv2_40"


def test_they_are_small() -> None:
    """At most 6 M parameters and 13 MB; both files at most 26 MB."""
    assert DEMO.bundle.stat().st_size <= 13e6
    assert DEMO.bundle.stat().st_size + DEMO.onnx.stat().st_size <= 26e6
    assert round(DEMO.bundle.stat().st_size / 1e6) == DEMO.megabytes
