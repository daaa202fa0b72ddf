"""Recorded folders: naming, types, and what is wrong with a folder in one sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.node.frame_source import RecordedSource

RED = (200, 30, 20)


def write_frame(folder: Path, number: int, depth: np.ndarray, suffix: str = "png") -> None:
    rgb = np.full((*depth.shape, 3), RED, np.uint8)
    rgb[..., 2] += number
    cv2.imwrite(str(folder / f"frame-{number:06d}.color.{suffix}"), rgb[..., ::-1])
    cv2.imwrite(str(folder / f"frame-{number:06d}.depth.png"), depth)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        write_frame(tmp_path, number, np.array([[0, 1500], [2000 + number, 65535]], np.uint16))
    (tmp_path / "camera-intrinsics.txt").write_text("500 0 1.5\n0 510 0.5\n0 0 1\n")
    return tmp_path


def test_frames_come_in_order_with_rgb_and_metres(folder: Path) -> None:
    recording = RgbdRecording(folder)
    assert len(recording) == 3
    for number, frame in enumerate(recording):
        np.testing.assert_array_equal(frame.rgb[0, 0], (RED[0], RED[1], RED[2] + number))
        np.testing.assert_allclose(frame.depth, [[np.nan, 1.5], [2 + number / 1000, 65.535]], rtol=1e-6)


def test_raw_frames_keep_millimetres(folder: Path) -> None:
    raw = RgbdRecording(folder).raw(1)
    assert raw.depth.dtype == np.uint16
    np.testing.assert_array_equal(raw.depth, [[0, 1500], [2001, 65535]])


def test_the_camera_matrix_is_read(folder: Path) -> None:
    recording = RgbdRecording(folder)
    assert not recording.intrinsics_are_guessed
    assert recording.intrinsics.width == recording.intrinsics.height == 2
    assert (recording.intrinsics.fx, recording.intrinsics.fy) == (500, 510)
    assert (recording.intrinsics.cx, recording.intrinsics.cy) == (1.5, 0.5)


def test_a_missing_camera_matrix_is_guessed_and_said(folder: Path) -> None:
    (folder / "camera-intrinsics.txt").unlink()
    recording = RgbdRecording(folder)
    assert recording.intrinsics_are_guessed
    assert recording.intrinsics.fx == pytest.approx(1.8)


def test_an_index_beyond_the_end_is_an_index_error(folder: Path) -> None:
    with pytest.raises(IndexError):
        RgbdRecording(folder)[3]


def test_jpeg_colour_is_read_in_rgb_order(tmp_path: Path) -> None:
    write_frame(tmp_path, 0, np.full((16, 16), 1000, np.uint16), suffix="jpg")
    np.testing.assert_allclose(RgbdRecording(tmp_path)[0].rgb[8, 8], RED, atol=4)


def test_numbers_may_have_gaps_and_other_files_are_ignored(folder: Path) -> None:
    write_frame(folder, 70, np.full((2, 2), 70, np.uint16))
    (folder / "frame-000000.pose.txt").write_text("1")
    (folder / "notes.txt").write_text("x")
    recording = RgbdRecording(folder)
    assert len(recording) == 4
    assert recording.raw(3).depth[0, 0] == 70


def _no_folder(folder: Path) -> Path:
    return folder / "absent"


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _missing_partner(folder: Path) -> Path:
    (folder / "frame-000002.depth.png").unlink()
    return folder


def _depth_of_8_bit(folder: Path) -> Path:
    cv2.imwrite(str(folder / "frame-000000.depth.png"), np.zeros((2, 2), np.uint8))
    return folder


def _depth_in_colour(folder: Path) -> Path:
    cv2.imwrite(str(folder / "frame-000000.depth.png"), np.zeros((2, 2, 3), np.uint16))
    return folder


def _damaged_image(folder: Path) -> Path:
    (folder / "frame-000000.color.png").write_bytes(b"no image")
    return folder


def _empty_image(folder: Path) -> Path:
    (folder / "frame-000000.depth.png").write_bytes(b"")
    return folder


def _other_size(folder: Path) -> Path:
    cv2.imwrite(str(folder / "frame-000000.depth.png"), np.zeros((3, 2), np.uint16))
    return folder


def _text_for_matrix(folder: Path) -> Path:
    (folder / "camera-intrinsics.txt").write_text("fx = 5\n")
    return folder


def _short_matrix(folder: Path) -> Path:
    (folder / "camera-intrinsics.txt").write_text("1 2 3\n")
    return folder


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_folder, "no folder"),
        (_empty, "holds no frame-"),
        (_missing_partner, "no 'frame-000002.depth.png'"),
        (_depth_of_8_bit, "expected 16 bit"),
        (_depth_in_colour, "expected 16 bit"),
        (_damaged_image, "not a readable image"),
        (_empty_image, "not a readable image"),
        (_other_size, "registered"),
        (_text_for_matrix, "three lines of three numbers"),
        (_short_matrix, "3x3 camera matrix"),
    ],
)
def test_a_spoilt_recording_is_refused_with_its_reason(folder: Path, spoil: object, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        RgbdRecording(spoil(folder))  # type: ignore[operator]


@settings(max_examples=20, deadline=None)
@given(depth=arrays(np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_depth_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, depth: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("recording")
    write_frame(folder, 0, depth)
    recording = RgbdRecording(folder)
    np.testing.assert_array_equal(recording.raw(0).depth, depth)
    np.testing.assert_array_equal(np.isnan(recording[0].depth), depth == 0)


def test_a_recorded_camera_ends_or_loops(folder: Path) -> None:
    assert RecordedSource(folder, loop=False).frame(3) is None
    looping = RecordedSource(folder, loop=True)
    np.testing.assert_array_equal(looping.frame(4).depth, looping.recording.raw(1).depth)


def test_a_real_kinect_sequence_is_read(kitchen: Path) -> None:
    recording = RgbdRecording(kitchen)
    frame = recording[0]
    assert len(recording) == 90
    assert frame.size == (480, 640)
    assert recording.intrinsics.fx == 585
    assert 0.5 < np.nanmedian(frame.depth) < 6
