"""Data sets of people's own, described in YAML, and SUN RGB-D's original files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from sunrgbd_files import PLACES, SIZES, SPLIT, write_sunrgbd

pytest.importorskip("yaml", reason="descriptions are YAML")

from asymformer_ros.datasets import open_data_set
from asymformer_ros.datasets.files import rotated_back
from asymformer_ros.datasets.labelled import labels_from
from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.images import read_depth
from asymformer_ros.models.labels import label_set

DESCRIPTION = """
rgb: color/{name}.jpg
depth: depth/{name}.png
labels: seg/{name}.png
depth_unit: 0.0001
first_label: 0
void: [255, 7]
classes: mine.json
train: train.txt
test: room2_*
"""
FIVE = {"name": "five", "classes": [{"name": name, "color": [9, 9, 9]} for name in "abcde"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("color", "depth", "seg"):
        (tmp_path / kind).mkdir()
    for name in ("room1_a", "room2_a", "room2_b"):
        cv2.imwrite(str(tmp_path / f"color/{name}.jpg"), np.full((2, 2, 3), 100, np.uint8))
        cv2.imwrite(str(tmp_path / f"depth/{name}.png"), np.array([[0, 20000], [5, 10000]], np.uint16))
        cv2.imwrite(str(tmp_path / f"seg/{name}.png"), np.array([[0, 4], [7, 255]], np.uint8))
    (tmp_path / "train.txt").write_text("room1_a\n")
    (tmp_path / "dataset.yaml").write_text(DESCRIPTION)
    (tmp_path / "mine.json").write_text(json.dumps(FIVE))
    return tmp_path


def test_a_few_lines_say_where_images_are_and_what_they_mean(folder: Path) -> None:
    train, test = open_data_set(folder, "train"), open_data_set(folder, "test")
    assert (list(train.frame_names), list(test.frame_names)) == (["room1_a"], ["room2_a", "room2_b"])
    assert test.label_set.names == tuple("abcde")
    np.testing.assert_allclose(test[0].frame.depth, [[np.nan, 2.0], [0.0005, 1.0]], rtol=1e-5)
    np.testing.assert_array_equal(test[0].labels, [[0, 4], [255, 255]])


def test_images_may_stand_in_folders_of_scenes(folder: Path) -> None:
    for kind in ("color", "depth", "seg"):
        (folder / kind / "kitchen").mkdir()
        for file in (folder / kind).glob("room2_a*"):
            file.rename(file.parent / "kitchen" / file.name)
    (folder / "dataset.yaml").write_text(DESCRIPTION.replace("room2_*", "kitchen/*"))
    assert list(open_data_set(folder, "test").frame_names) == ["kitchen/room2_a"]
    (folder / "train.txt").write_text("kitchen/room2_a.jpg\n")
    assert len(open_data_set(folder, "train")[0].labels) == 2


def test_depth_bits_may_be_rotated_as_in_sun_rgbd(folder: Path) -> None:
    (folder / "dataset.yaml").write_text(DESCRIPTION.replace("depth_unit: 0.0001", "depth_bits: rotated"))
    stored = np.array([[0, 2000 << 3], [(9000 << 3) & 0xFFFF | 9000 >> 13, 8]], np.uint16)
    cv2.imwrite(str(folder / "depth/room2_a.png"), stored)
    expected = [[np.nan, 2.0], [9.0, 0.001]]
    np.testing.assert_allclose(open_data_set(folder, "test")[0].frame.depth, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("rgb: color/{name}.jpg", "rgb: color", "rgb has no {name}"),
        ("first_label: 0", "first_lable: 0", "first_lable is not known"),
        ("depth_unit: 0.0001", "depth_unit: mm", "could not convert string to float: 'mm'"),
        ("depth_unit: 0.0001", "depth_unit: -1", "depth_unit is -1"),
        ("depth_unit: 0.0001", "depth_bits: swapped", "depth_bits is swapped"),
        ("void: [255, 7]", "void: 255", "'int' object is not iterable"),
        (DESCRIPTION, "- a list", "it holds a list"),
    ],
)
def test_a_description_that_is_wrong_says_what_was_expected(folder: Path, before: str, after: str, says: str) -> None:
    (folder / "dataset.yaml").write_text(DESCRIPTION.replace(before, after))
    with pytest.raises(ConfigurationError) as caught:
        open_data_set(folder, "test")
    assert f"dataset.yaml': {says}; expected rgb, depth and labels, each a path with {{name}}" in str(caught.value)


def test_what_is_no_yaml_is_refused(folder: Path) -> None:
    (folder / "dataset.yaml").write_text("rgb: [")
    with pytest.raises(ConfigurationError, match="dataset.yaml' cannot be read as YAML"):
        open_data_set(folder, "test")


def test_a_pattern_without_images_is_refused(folder: Path) -> None:
    (folder / "dataset.yaml").write_text(DESCRIPTION.replace("room2_*", "room9_*"))
    with pytest.raises(FrameError, match=r"holds no colour image that is called 'color/room9_\*.jpg'"):
        open_data_set(folder, "test")


@pytest.mark.parametrize("value", [5, 6, 254, -1, 1.5, np.nan])
def test_a_label_that_is_neither_class_nor_void_is_refused(value: float) -> None:
    with pytest.raises(FrameError, match=r"expected classes 0 to 4, or 255, 7 \(void\)"):
        labels_from(np.array([[0, value]]), 5, 0, (255, 7))


def test_a_set_of_cameras_is_read_beside_the_lists(folder: Path) -> None:
    (folder / "cameras.txt").write_text("room2_a kv1\n")
    assert open_data_set(folder, "test").cameras == {"room2_a": "kv1"}
    (folder / "cameras.txt").write_text("room2_a\n")
    with pytest.raises(FrameError, match="cameras.txt' has another form than expected"):
        open_data_set(folder, "test")


@pytest.fixture
def sunrgbd(tmp_path: Path) -> Path:
    pytest.importorskip("h5py", reason="SUN RGB-D's labels are HDF5")
    pytest.importorskip("scipy", reason="SUN RGB-D's lists are MATLAB files")
    return write_sunrgbd(tmp_path / "sun")


def test_sun_rgbd_is_read_as_its_authors_publish_it(sunrgbd: Path) -> None:
    for split, own in SPLIT.items():
        data = open_data_set(sunrgbd, split)
        assert data.label_set == label_set("sunrgbd_37")
        assert list(data.frame_names) == [PLACES[at].replace("/", "-") for at in own]
        assert list(data.cameras.values()) == [PLACES[at].split("/")[0] for at in own]
        for index, at in enumerate(own):
            labelled = data[index]
            assert labelled.frame.size == SIZES[at]
            assert np.abs(labelled.frame.rgb.astype(int) - at * 20).max() <= 2
            assert np.isnan(labelled.frame.depth[0, 0])
            np.testing.assert_allclose(labelled.frame.depth[1:], 5.0)
            assert (labelled.labels[:, 0] == 255).all()
            assert (labelled.labels[:, 1:] == at).all()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat", "allsplit.mat' cannot be read"),
        ("SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat", "SUNRGBDMeta.mat' cannot be read"),
        ("SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat", "SUNRGBD2Dseg.mat' cannot be read as HDF5"),
        (f"SUNRGBD/{PLACES[1]}/depth_bfx/1.png", "1.png' cannot be read: No such file"),
    ],
)
def test_a_missing_file_of_sun_rgbd_is_named(sunrgbd: Path, file: str, says: str) -> None:
    (sunrgbd / file).unlink()
    with pytest.raises(FrameError, match=says):
        open_data_set(sunrgbd, "test")[0]


def test_depth_of_a_real_frame_of_sun_rgbd_is_that_of_a_room(odd_pairs: Path) -> None:
    stored = read_depth(odd_pairs / "sunrgbd_rotated_bits/depth_bfx.png")
    millimetres = rotated_back(stored)
    assert np.median(stored) > 10000  # nonsense, as millimetres
    assert 500 < np.median(millimetres) < 6000
    neighbours = np.abs(np.diff(millimetres.astype(int), axis=1))
    assert np.median(neighbours) < 20  # surfaces go on from pixel to pixel
