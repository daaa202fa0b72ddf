"""Writing a PNG data set: what it holds, that it is whole or none, and what is refused."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_data_set import NYUV2, SIZE, images_of, write_small_set

from asymformer_ros.datasets import open_data_set
from asymformer_ros.datasets.png import PngWriter
from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.frames.images import read_labels, write_png
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.models.labels import LabelSet, label_set

CAMERA = Intrinsics(SIZE[1], SIZE[0], 40.25, 41.0, 23.5, 17.5)
RGB, DEPTH, LABELS = images_of(0)
POSE = np.eye(4) + np.pi * 1e-3


def test_the_files_are_those_of_the_authors_and_poses(tmp_path: Path) -> None:
    with PngWriter(tmp_path / "set", CAMERA, NYUV2) as writer:
        writer.add("frame", RawRgbd(RGB, DEPTH, LABELS), POSE, "test")
    files = {str(path.relative_to(tmp_path / "set")) for path in (tmp_path / "set").rglob("*") if path.is_file()}
    kinds = ("images/frame.png", "depths/frame.png", "labels/frame.png", "poses/frame.txt")
    assert files == {*kinds, "camera-intrinsics.txt", "train.txt", "test.txt"}
    stored = cv2.imread(str(tmp_path / "set/labels/frame.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, np.where(LABELS == 255, 0, LABELS + 1))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "set/depths/frame.png"), cv2.IMREAD_UNCHANGED), DEPTH)
    matrix = np.loadtxt(tmp_path / "set/camera-intrinsics.txt")
    np.testing.assert_array_equal(matrix, [[40.25, 0, 23.5], [0, 41, 17.5], [0, 0, 1]])
    np.testing.assert_allclose(np.loadtxt(tmp_path / "set/poses/frame.txt"), POSE, rtol=1e-8)
    assert (tmp_path / "set/test.txt").read_text() == "frame\n"


def test_other_classes_are_written_beside_the_images(tmp_path: Path) -> None:
    write_small_set(tmp_path / "set", label_set("nyuv2_13"))
    written = LabelSet.from_json(json.loads((tmp_path / "set/label_set.json").read_text()))
    assert written == label_set("nyuv2_13")


def test_what_was_interrupted_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(KeyError), PngWriter(tmp_path / "set", CAMERA, NYUV2) as writer:
        writer.add("frame", RawRgbd(RGB, DEPTH, LABELS), POSE, "neither train nor test")
    assert not list((tmp_path / "set").glob("t*.txt"))
    with pytest.raises(FrameError, match="test.txt' cannot be read"):
        open_data_set(tmp_path / "set", "test")


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path: Path) -> None:
    write_small_set(tmp_path)
    with pytest.raises(ConfigurationError, match="is not empty: give a new or an empty folder"):
        write_small_set(tmp_path)
    with pytest.raises(ConfigurationError, match="train.txt' is not empty"):
        write_small_set(tmp_path / "train.txt")


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AsymformerError, match="cannot write '.*camera-intrinsics.txt'"):
        write_small_set(tmp_path / "file/set")


def test_two_frames_of_one_name_are_refused(tmp_path: Path) -> None:
    with PngWriter(tmp_path, CAMERA, NYUV2) as writer:
        writer.add("frame", RawRgbd(RGB, DEPTH, LABELS), POSE, "test")
        with pytest.raises(ConfigurationError, match="two frames 'frame'"):
            writer.add("frame", RawRgbd(RGB, DEPTH, LABELS), POSE, "train")


@pytest.mark.parametrize(
    ("images", "pose", "says"),
    [
        ((RGB[:2], DEPTH[:2], LABELS[:2]), POSE, r"of the camera's size \(36, 48\)"),
        ((RGB, DEPTH.astype(np.float32), LABELS), POSE, r"'float32'"),
        ((RGB, DEPTH, LABELS.astype(np.int64)), POSE, r"'int64'"),
        ((RGB, DEPTH, LABELS), POSE[:3], r"the pose \(3, 4\)"),
        ((RGB, DEPTH, np.full(SIZE, 40, np.uint8)), POSE, "go up to 40: nyuv2_40 has 0 to 39, and 255"),
    ],
)
def test_what_is_no_frame_of_the_data_set_is_refused(
    tmp_path: Path, images: tuple[np.ndarray, np.ndarray, np.ndarray], pose: np.ndarray, says: str
) -> None:
    with pytest.raises(FrameError, match=says), PngWriter(tmp_path, CAMERA, NYUV2) as writer:
        writer.add("frame", RawRgbd(*images), pose, "test")
    assert not (tmp_path / "images").exists()


def _palette_png(labels: np.ndarray, palette: np.ndarray, bits: int = 8) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = labels.shape
    packed = np.packbits(np.unpackbits(labels[..., None], axis=2)[..., 8 - bits :].reshape(height, -1), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"PLTE", palette.tobytes()) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def test_of_label_images_with_a_palette_the_indices_count(tmp_path: Path) -> None:
    folder, rng = write_small_set(tmp_path / "set"), np.random.default_rng(2)
    palette = rng.permutation(256 * 3).astype(np.uint8).reshape(256, 3)
    palette[41:] = palette[0]  # what stands behind the classes repeats
    stored = rng.integers(0, 41, SIZE, dtype=np.uint8)
    (folder / "labels/0001.png").write_bytes(_palette_png(stored, palette))
    np.testing.assert_array_equal(open_data_set(folder, "test")[0].labels, stored - np.uint8(1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_are_told_apart_where_the_palette_has_one_colour_for_them(bits: int, tmp_path: Path) -> None:
    stored = np.random.default_rng(bits).integers(0, 1 << bits, (5, 13), dtype=np.uint8)
    content = _palette_png(stored, np.full((1 << bits, 3), 184, np.uint8), bits)
    (tmp_path / "labels.png").write_bytes(content)
    labels = read_labels(tmp_path / "labels.png")
    np.testing.assert_array_equal(labels, stored)
    assert labels.dtype == np.uint8
    (tmp_path / "labels.png").write_bytes(content[:-20])
    with pytest.raises(FrameError, match="not a readable image"):
        read_labels(tmp_path / "labels.png")


def test_label_images_in_colour_are_refused(tmp_path: Path) -> None:
    folder = write_small_set(tmp_path / "set")
    write_png(folder / "labels/0001.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(FrameError, match="expected grey, the class of each pixel"):
        open_data_set(folder, "test")[0]
