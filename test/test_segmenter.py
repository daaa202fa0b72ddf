"""The segmenter: sizes, confidence limit, and what it asks of its backend. And class statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.frame import UNLABELLED, RgbdFrame, Segmentation
from asymformer_ros.frames.summary import class_statistics
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION, Normalization


class QuadrantBackend:
    """Labels each quadrant of a 64x96 input and answers with the red channel as confidence."""

    name = "quadrants"
    card = ModelCard("quadrants", label_set("nyuv2_13"), PUBLISHED_NORMALIZATION, (64, 96), "made for a test")

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def infer(self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False) -> Prediction:
        assert (rgb.shape[1:], depth.shape) == ((64, 96, 3), (len(rgb), 64, 96))
        self.asked.append(with_confidence)
        labels = np.zeros(depth.shape, dtype=np.uint8)
        labels[:, :32, 48:], labels[:, 32:, :48], labels[:, 32:, 48:] = 1, 2, 3
        return Prediction(labels, rgb[..., 0].copy() if with_confidence else None)

    def close(self) -> None:
        pass


def frame_of(height: int, width: int, red: int = 128) -> RgbdFrame:
    rgb = np.full((height, width, 3), red, dtype=np.uint8)
    return RgbdFrame(rgb, np.full((height, width), 2.0, dtype=np.float32))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (480, 640), (1080, 1440), (33, 50), (2, 2)])
def test_labels_come_back_in_the_size_of_the_camera(height: int, width: int) -> None:
    segmentation = Segmenter(QuadrantBackend()).segment(frame_of(height, width), with_confidence=True)
    assert segmentation.labels.shape == (height, width)
    assert segmentation.confidence is not None
    assert segmentation.confidence.shape == (height, width)
    corners = segmentation.labels[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [0, 1, 2, 3]


def test_frames_of_several_sizes_are_labelled_in_one_call() -> None:
    backend = QuadrantBackend()
    frames = [frame_of(480, 640, red=10), frame_of(64, 96, red=200)]
    small, large = Segmenter(backend).segment_all(frames, with_confidence=True, min_confidence=0.5)
    assert len(backend.asked) == 1
    assert small.labels.shape == (480, 640)
    assert (small.labels == UNLABELLED).all()
    assert set(np.unique(large.labels)) == {0, 1, 2, 3}
    assert large.confidence is not None
    assert (large.confidence == 200).all()


def test_the_backend_is_asked_for_confidence_only_where_something_needs_it() -> None:
    backend = QuadrantBackend()
    segmenter = Segmenter(backend)
    assert segmenter.segment(frame_of(64, 96)).confidence is None
    assert segmenter.segment(frame_of(64, 96), min_confidence=0.1).confidence is None
    assert segmenter.segment(frame_of(64, 96), with_confidence=True).confidence is not None
    assert backend.asked == [False, True, True]


@pytest.mark.parametrize(("limit", "unlabelled"), [(0.0, False), (0.5, False), (0.503, True), (1.0, True)])
def test_pixels_below_the_confidence_limit_are_unlabelled(limit: float, unlabelled: bool) -> None:
    labels = Segmenter(QuadrantBackend()).segment(frame_of(64, 96, red=128), min_confidence=limit).labels
    assert (labels == UNLABELLED).all() == unlabelled
    assert (labels == UNLABELLED).any() == unlabelled


def test_stage_times_are_positive_and_add_up() -> None:
    times = Segmenter(QuadrantBackend()).segment(frame_of(480, 640)).times
    assert min(times.preprocess, times.inference, times.postprocess) > 0
    assert times.total == pytest.approx(times.preprocess + times.inference + times.postprocess)


@pytest.mark.parametrize(
    ("rgb", "depth", "told"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4), np.float32), r"rgb must be \(H, W, 3\) uint8, got \(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), "depth must be .* float32, got .* float64"),
        (np.zeros((4, 6, 3), np.uint8), np.zeros((4, 4), np.float32), "colour is 6x4 but depth is 4x4"),
    ],
)
def test_a_frame_that_exists_is_valid(rgb: np.ndarray, depth: np.ndarray, told: str) -> None:
    with pytest.raises(FrameError, match=told):
        RgbdFrame(rgb, depth)


def test_a_normalisation_without_spread_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="above 0"):
        Normalization((0.0, 0.0, 0.0), (1.0, 0.0, 1.0), 0.0, 1.0)


maps = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)


@settings(deadline=None)
@given(st.data(), maps)
def test_class_statistics_agree_with_a_plain_loop(data: st.DataObject, shape: tuple[int, int]) -> None:
    labels = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 7, 39, UNLABELLED])))
    confidence = data.draw(hnp.arrays(np.uint8, shape))
    depth = data.draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([np.nan, 0.5, 1.25, 8.0])))
    frame = RgbdFrame(np.zeros((*shape, 3), np.uint8), depth)
    statistics = class_statistics(frame, Segmentation(labels, confidence))
    assert {entry.label for entry in statistics} == set(labels.ravel().tolist()) - {UNLABELLED}
    assert [entry.pixel_fraction for entry in statistics] == sorted(
        (e.pixel_fraction for e in statistics), reverse=True
    )
    for entry in statistics:
        rows, columns = np.nonzero(labels == entry.label)
        known = depth[rows, columns][~np.isnan(depth[rows, columns])]
        assert entry.pixel_fraction == pytest.approx(rows.size / labels.size)
        assert entry.mean_confidence == pytest.approx(confidence[rows, columns].mean() / 255)
        assert entry.nearest_distance == pytest.approx(known.min() if known.size else np.nan, nan_ok=True)
        assert entry.centroid == pytest.approx((columns.mean(), rows.mean()))
