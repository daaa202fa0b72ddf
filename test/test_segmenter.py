"""The segmenter: sizes, confidence limit, and what it asks of its backend. And class statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.frame import UNLABELLED, MillimetreFrame, RgbdFrame
from asymformer_ros.frames.images import read_labels, read_rgb, write_png
from asymformer_ros.frames.summary import class_statistics
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION, Normalization


class QuadrantBackend:
    """Labels each quadrant of a 64x96 input and answers with the red channel as confidence."""

    name = model_sha256 = "quadrants"
    card = ModelCard("quadrants", label_set("nyuv2_13"), PUBLISHED_NORMALIZATION, (64, 96), "made for a test")

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
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


def test_millimetres_reach_the_backend_as_they_are_and_as_metres_beside_a_frame_of_metres() -> None:
    backend = QuadrantBackend()
    rgb, millimetres = np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 1500, np.uint16)
    frame, given = MillimetreFrame(rgb, millimetres), []
    infer = backend.infer
    backend.infer = lambda rgb, depth, **more: given.append(depth) or infer(rgb, depth, **more)  # type: ignore
    segmenter = Segmenter(backend)
    assert segmenter.segment(frame).classes[0].nearest_distance == pytest.approx(1.5)
    assert given[0].dtype == np.uint16
    assert np.shares_memory(given[0], millimetres) or backend.card.input_size != (32, 32)
    segmenter.segment_all([frame, RgbdFrame(rgb, np.full((32, 32), 2.5, np.float32))])
    assert given[1].dtype == np.float32
    assert [depth.mean() for depth in given[1]] == pytest.approx([1.5, 2.5])


def test_a_frame_of_millimetres_is_one_of_metres_to_whoever_asks() -> None:
    rgb, millimetres = np.zeros((2, 3, 3), np.uint8), np.array([[0, 1, 65535], [1500, 7, 0]], np.uint16)
    frame = MillimetreFrame(rgb, millimetres)
    np.testing.assert_array_equal(frame.depth, metres_from_millimetres(millimetres))
    assert frame.depth is frame.depth
    assert (frame.raw_depth is millimetres, frame.size) == (True, (2, 3))
    with pytest.raises(FrameError, match=r"depth must be \(2, 3\) uint16 millimetres, got \(3, 2\) uint16"):
        MillimetreFrame(rgb, millimetres.T)


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
        (np.zeros((4, 4)), np.zeros((4, 4), np.float32), r"rgb must be \(H, W, 3\) uint8 in RGB order, got \(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), "depth must be .* float32, got .* float64"),
        (np.zeros((4, 6, 3), np.uint8), np.zeros((4, 4), np.float32), "colour is 6x4 but depth is 4x4"),
    ],
)
def test_a_frame_that_exists_is_valid(rgb: np.ndarray, depth: np.ndarray, told: str) -> None:
    with pytest.raises(FrameError, match=told):
        RgbdFrame(rgb, depth)


def test_a_call_takes_arrays_and_answers_with_all_there_is() -> None:
    rgb = np.full((48, 60, 3), 128, dtype=np.uint8)
    result = Segmenter(QuadrantBackend())(rgb[..., ::-1], np.full((48, 60), 2000, dtype=np.uint16))
    assert (result.labels.shape, result.confidence.shape) == ((48, 60), (48, 60))  # type: ignore[union-attr]
    assert [(one.name, one.pixel_fraction, one.nearest_distance) for one in result.classes] == [
        (name, 0.25, 2.0) for name in label_set("nyuv2_13").names[:4]
    ]


def test_a_call_takes_image_files(tmp_path: Path) -> None:
    rgb, depth = np.full((48, 60, 3), (200, 0, 9), dtype=np.uint8), np.full((48, 60), 1500, dtype=np.uint16)
    write_png(tmp_path / "rgb.png", rgb)
    write_png(tmp_path / "depth.png", depth)
    with Segmenter(QuadrantBackend()) as segmenter:
        of_files = segmenter(str(tmp_path / "rgb.png"), tmp_path / "depth.png")
        of_arrays = segmenter(rgb, np.full((48, 60), 1.5, dtype=np.float32))
    np.testing.assert_array_equal(of_files.frame.rgb, rgb)
    np.testing.assert_allclose(of_files.frame.depth, of_arrays.frame.depth)
    np.testing.assert_array_equal(of_files.labels, of_arrays.labels)


@pytest.mark.parametrize(
    ("rgb", "depth", "told"),
    [
        (
            np.zeros((4, 4, 3), np.float32),
            np.ones((4, 4), np.uint16),
            "rgb must be .* RGB order, got .*float32",
        ),
        (np.zeros((4, 4, 4), np.uint8), np.ones((4, 4), np.uint16), r"rgb must be .* got \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 1500.0), "median of 1500: that is millimetres.*divide by 1000"),
        (np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.int32), "depth is int32: expected uint16 millimetres or"),
        (np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 1), np.uint16), r"depth must be \(H, W\) .* got \(4, 4, 1\)"),
        (np.zeros((4, 6, 3), np.uint8), np.ones((4, 4), np.uint16), "colour is 6x4 but depth is 4x4: register"),
        ("absent.png", np.ones((4, 4), np.uint16), "'absent.png' cannot be read"),
    ],
)
def test_what_cannot_be_a_frame_is_refused_with_a_reason(rgb: np.ndarray, depth: np.ndarray, told: str) -> None:
    with pytest.raises(FrameError, match=told):
        RgbdFrame.of(rgb, depth)


def test_a_colour_file_is_read_as_it_is_stored_whatever_its_exif_orientation_says(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", np.full((8, 16, 3), 90, np.uint8))
    turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: a quarter turn
    app1 = b"\xff\xe1" + (len(turned) + 2).to_bytes(2, "big") + turned
    (tmp_path / "turned.jpg").write_bytes(data.tobytes()[:2] + app1 + data.tobytes()[2:])
    assert cv2.imread(str(tmp_path / "turned.jpg")).shape == (16, 8, 3)
    assert read_rgb(tmp_path / "turned.jpg").shape == (8, 16, 3)


def test_far_outliers_and_unknown_depth_are_no_millimetres() -> None:
    depth = np.full((4, 4), 3.0, np.float64)
    depth[0], depth[1] = 65535.0, np.nan
    frame = RgbdFrame.of(np.zeros((4, 4, 3), np.uint8), depth)
    assert frame.depth.dtype == np.float32
    assert np.isnan(RgbdFrame.of(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)).depth).all()


def test_the_overlay_shows_the_palette_and_the_legend_names_it() -> None:
    result = Segmenter(QuadrantBackend())(np.zeros((48, 60, 3), np.uint8), np.ones((48, 60), np.uint16))
    plain, named = result.overlay(alpha=1.0), result.overlay(alpha=1.0, legend=True)
    np.testing.assert_array_equal(plain, result.label_set.colorize(result.labels))
    np.testing.assert_array_equal(named[:48], plain)
    assert named.shape[0] > 48
    for color in result.label_set.colors[:4]:
        assert (named[48:] == color).all(axis=2).any()
    np.testing.assert_array_equal(result.overlay(alpha=0.0), result.frame.rgb)


def test_a_result_is_saved_as_labels_overlay_and_summary(tmp_path: Path) -> None:
    result = Segmenter(QuadrantBackend())(np.full((48, 60, 3), 51, np.uint8), np.zeros((48, 60), np.uint16))
    result.save(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["labels.png", "overlay.png", "summary.json"]
    np.testing.assert_array_equal(read_labels(tmp_path / "out/labels.png"), result.labels)
    np.testing.assert_array_equal(read_rgb(tmp_path / "out/overlay.png"), result.overlay(legend=True))
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["label_set"], summary["size"], len(summary["classes"])) == ("nyuv2_13", [48, 60], 4)
    assert summary["classes"][0]["mean_confidence"] == pytest.approx(0.2)
    assert summary["classes"][0]["nearest_distance"] is None
    with pytest.raises(AsymformerError, match="cannot write to '.*labels.png'"):
        result.save(tmp_path / "out/labels.png")


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
    statistics = class_statistics(labels, confidence, depth, label_set("nyuv2_40").names)
    assert {entry.label for entry in statistics} == set(labels.ravel().tolist()) - {UNLABELLED}
    assert [entry.pixel_fraction for entry in statistics] == sorted(
        (e.pixel_fraction for e in statistics), reverse=True
    )
    without = class_statistics(labels, None, depth, label_set("nyuv2_40").names)
    assert all(np.isnan(entry.mean_confidence) for entry in without)
    for entry in statistics:
        assert entry.name == label_set("nyuv2_40").names[entry.label]
        rows, columns = np.nonzero(labels == entry.label)
        known = depth[rows, columns][~np.isnan(depth[rows, columns])]
        assert entry.pixel_fraction == pytest.approx(rows.size / labels.size)
        assert entry.mean_confidence == pytest.approx(confidence[rows, columns].mean() / 255)
        assert entry.nearest_distance == pytest.approx(known.min() if known.size else np.nan, nan_ok=True)
        assert entry.centroid == pytest.approx((columns.mean(), rows.mean()))


@settings(deadline=None)
@given(st.data(), maps)
def test_class_statistics_of_millimetres_are_those_of_the_same_depth_in_metres(
    data: st.DataObject, shape: tuple[int, int]
) -> None:
    labels = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, UNLABELLED])))
    millimetres = data.draw(hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 1, 1234, 65534, 65535])))
    names, metres = label_set("nyuv2_40").names, metres_from_millimetres(millimetres)
    pair = [repr(class_statistics(labels, None, depth, names)) for depth in (millimetres, metres)]
    assert pair[0] == pair[1]
