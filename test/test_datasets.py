"""Data sets: each layout read from files of the test, and what is wrong with one in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_data_set import SIZE, images_of, write_small_set

from asymformer_ros.datasets import LabelledFrame, hold_out, open_data_set
from asymformer_ros.datasets.labelled import labels_from_one
from asymformer_ros.datasets.part import scenes
from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.models.labels import label_set

METRES = np.float32([[0.5, 2.0], [0.0, np.nan]])


@pytest.fixture
def png(tmp_path: Path) -> Path:
    return write_small_set(tmp_path / "set")


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    """As the authors' first release: labels of int16, images of float64, say."""
    folder = tmp_path / "npy"
    for name in ("images", "depths", "labels40"):
        (folder / name).mkdir(parents=True)
    np.save(folder / "images/0.npy", np.full((2, 2, 3), 200.0))
    np.save(folder / "depths/0.npy", METRES)
    np.save(folder / "labels40/0.npy", np.array([[0, 1], [2, 40]], np.int16))
    (folder / "test.txt").write_text("0\n")
    return folder


@pytest.fixture
def sunrgbd(tmp_path: Path) -> Path:
    folder = tmp_path / "sun"
    for name in ("test_image", "test_depth", "test_label"):
        (folder / name).mkdir(parents=True)
    np.save(folder / "test_image/img-1.npy", np.full((2, 2, 3), (200, 100, 0), np.uint8))
    cv2.imwrite(str(folder / "test_depth/img-1.png"), np.array([[5000, 20000], [0, 1]], np.uint16))
    cv2.imwrite(str(folder / "test_label/img-1.png"), np.array([[0, 1], [2, 37]], np.uint8))
    (folder / "test.txt").write_text("img-1\n")
    return folder


def test_a_png_data_set_is_read_as_it_was_written(png: Path) -> None:
    train, test = open_data_set(png, "train"), open_data_set(png, "test")
    assert (len(train), len(test)) == (1, 3)
    assert test.label_set == label_set("nyuv2_40")
    assert test.name == "set (PNG)"
    for number, labelled in enumerate([train[0], *test]):
        rgb, depth, labels = images_of(number)
        np.testing.assert_array_equal(labelled.frame.rgb, rgb)
        np.testing.assert_array_equal(labelled.labels, labels)
        np.testing.assert_array_equal(np.isnan(labelled.frame.depth), depth == 0)
        np.testing.assert_allclose(np.nan_to_num(labelled.frame.depth), depth / 1000, rtol=1e-6)


def test_a_png_data_set_may_have_classes_of_its_own(tmp_path: Path) -> None:
    data = open_data_set(write_small_set(tmp_path / "set", label_set("nyuv2_13")), "test")
    assert data.label_set == label_set("nyuv2_13")
    assert data[0].labels[data[0].labels != 255].max() == 12


@pytest.mark.parametrize(
    "lines",
    [
        "0002\n0001\n",
        "0002.png\n0001.PNG",
        "images/0002.png\r\n\r\nimages/0001.png\r\n",
        "C:\\set\\0002\n /set/0001 \n",
    ],
)
def test_a_list_may_name_files_and_folders(png: Path, lines: str) -> None:
    (png / "test.txt").write_text(lines)
    data = open_data_set(png, "test")
    assert len(data) == 2
    np.testing.assert_array_equal(data[0].frame.rgb, images_of(2)[0])


def test_16_bit_labels_are_read(png: Path) -> None:
    cv2.imwrite(str(png / "labels/0001.png"), np.full(SIZE, 40, np.uint16))
    assert (open_data_set(png, "test")[0].labels == 39).all()


def test_the_npy_layout_has_metres_and_labels_from_1(npy: Path) -> None:
    data = open_data_set(npy, "test")
    assert (data.name, data.label_set.name, len(data)) == ("npy (npy)", "nyuv2_40", 1)
    np.testing.assert_array_equal(data[0].frame.rgb, np.full((2, 2, 3), 200))
    np.testing.assert_array_equal(data[0].frame.depth, [[0.5, 2.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(data[0].labels, [[255, 0], [1, 39]])


def test_the_sun_rgbd_layout_has_tenths_of_millimetres_and_37_classes(sunrgbd: Path) -> None:
    data = open_data_set(sunrgbd, "test")
    assert (data.name, data.label_set.name) == ("sun (SUN RGB-D)", "sunrgbd_37")
    np.testing.assert_array_equal(data[0].frame.rgb[0, 0], (200, 100, 0))
    np.testing.assert_allclose(data[0].frame.depth, [[0.5, 2.0], [np.nan, 1e-4]], rtol=1e-6)
    np.testing.assert_array_equal(data[0].labels, [[255, 0], [1, 36]])


def test_an_index_behind_the_last_is_an_index_error(png: Path) -> None:
    with pytest.raises(IndexError):
        open_data_set(png, "test")[3]


@given(labels=arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(0, 254)))
def test_stored_labels_are_one_more_and_void_is_0(labels: np.ndarray) -> None:
    expected = np.where(labels == 0, 255, labels.astype(int) - 1)
    for kind in (np.uint8, np.int64, np.float64):
        np.testing.assert_array_equal(labels_from_one(labels.astype(kind), 254), expected)


@pytest.mark.parametrize("value", [41, 254, 256, 65536 + 1, -1, 1.5, np.nan])
def test_a_stored_label_that_is_no_class_is_refused(value: float) -> None:
    with pytest.raises(FrameError, match="expected 0 or 255 \\(void\\) and classes 1 to 40"):
        labels_from_one(np.array([[1, value]]), 40)


@pytest.mark.parametrize("labels", [np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.int64)])
def test_a_labelled_frame_has_a_label_for_each_pixel(labels: np.ndarray) -> None:
    frame = RgbdFrame(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32))
    with pytest.raises(FrameError, match=r"expected \(2, 2\) uint8"):
        LabelledFrame(frame, labels)


def test_another_split_is_refused(png: Path) -> None:
    with pytest.raises(ConfigurationError, match="split is 'val': expected one of train, test"):
        open_data_set(png, "val")


@pytest.mark.parametrize("content", [[], ["images", "depths"], ["train_image", "train_depth", "train_label"]])
def test_a_folder_that_is_no_data_set_says_what_was_expected(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigurationError) as caught:
        open_data_set(tmp_path, "test")
    said = str(caught.value)
    assert f"it holds {', '.join(sorted(content)) or 'nothing'}; expected images, depths, labels; or" in said
    assert "test_image, test_depth, test_label; or nyu_depth_v2_labeled.mat" in said


def test_no_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder '.*absent'"):
        open_data_set(tmp_path / "absent", "test")


def _without(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def _text(path: str, text: str) -> Callable[[Path], None]:
    return lambda folder: _ignore((folder / path).write_text(text))


def _image(path: str, image: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: _ignore(cv2.imwrite(str(folder / path), image))


def _array(path: str, array: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / path, array)


def _ignore(answer: object) -> None:
    """For lambdas that answer nothing."""


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without("test.txt"), "the split's list '.*test.txt' cannot be read"),
        (_text("test.txt", "\n \n"), "list '.*test.txt' is empty: expected the name of one frame on each line"),
        (_text("test.txt", "1\n0001\n2\n"), "lacks 6 files of the 3 frames .* the first is 'images/1.png'"),
        (_without("labels/0002.png"), "lacks 1 files of the 3 frames .* the first is 'labels/0002.png'"),
        (_text("label_set.json", "[]"), "label_set.json holds a list"),
        (_text("images/0001.png", "no image"), "images/0001.png' is not a readable image"),
        (_image("depths/0001.png", np.zeros(SIZE, np.uint8)), "depths/0001.png' is a uint8 image"),
        (
            _image("depths/0001.png", np.zeros((2, 2), np.uint16)),
            "images/0001.png' with its depth and labels: colour is 48x36 but depth is 2x2",
        ),
        (_image("labels/0001.png", np.zeros((*SIZE, 3), np.uint8)), "labels/0001.png' is an image of shape"),
        (_image("labels/0001.png", np.zeros((2, 2), np.uint8)), "images/0001.png' with .*: labels are .*expected"),
        (
            _image("labels/0001.png", np.full(SIZE, 41, np.uint8)),
            "images/0001.png' with .*: labels are 41 to 41: expected 0",
        ),
    ],
)
def test_a_spoilt_png_data_set_is_refused_with_its_reason(png: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(png)
    with pytest.raises(AsymformerError, match=says):
        open_data_set(png, "test")[0]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_text("images/0.npy", "no array"), "images/0.npy' is no readable .npy file"),
        (_text("images/0.npy", ""), "images/0.npy' is no readable .npy file"),
        (_array("images/0.npy", np.full((2, 2, 3), 256)), "holds int64 of 256 to 256: expected whole 0 to 255"),
        (_array("images/0.npy", np.zeros((3, 2, 2))), r"images/0.npy' with .*: rgb must be \(H, W, 3\) uint8"),
        (_array("depths/0.npy", np.array(["1.5"])), "depths/0.npy' holds no numbers"),
        (_array("labels40/0.npy", np.full((2, 2), 1.5)), "images/0.npy' with .*: labels are 1.5 to 1.5"),
    ],
)
def test_a_spoilt_npy_data_set_is_refused_with_its_reason(npy: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(npy)
    with pytest.raises(FrameError, match=says):
        open_data_set(npy, "test")[0]


def test_npy_depth_in_millimetres_is_refused(npy: Path) -> None:
    np.save(npy / "depths/0.npy", np.full((2, 2), 2000.0))
    with pytest.raises(FrameError, match="depths/0.npy': depth is float32 with a median of 2000: that is millimetres"):
        open_data_set(npy, "test")[0]


def test_a_label_set_beside_the_images_counts_in_each_layout(npy: Path) -> None:
    (npy / "label_set.json").write_text(json.dumps(label_set("sunrgbd_37").to_json()))
    with pytest.raises(FrameError, match="classes 1 to 37"):
        open_data_set(npy, "test")[0]


def test_colour_may_be_jpeg_in_the_png_layout(png: Path) -> None:
    names = (png / "test.txt").read_text().split()
    for name, ending in zip(names, ("jpg", "jpeg", "JPG"), strict=True):
        image = cv2.imread(str(png / f"images/{name}.png"))
        cv2.imwrite(str(png / f"images/{name}.jpg"), image)
        (png / f"images/{name}.jpg").rename(png / f"images/{name}.{ending}")
        (png / f"images/{name}.png").unlink()
    assert [labelled.frame.size for labelled in open_data_set(png, "test")] == [SIZE] * 3


@pytest.mark.parametrize(("layout", "path"), [("npy", "images/0"), ("sunrgbd", "test_image/img-1")])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_colour_may_be_an_image_in_the_layouts_of_arrays(
    request: pytest.FixtureRequest, layout: str, path: str, ending: str
) -> None:
    folder: Path = request.getfixturevalue(layout)
    (folder / f"{path}.npy").unlink()
    cv2.imwrite(str(folder / f"{path}.{ending}"), np.full((2, 2, 3), 90, np.uint8))
    assert np.abs(open_data_set(folder, "test")[0].frame.rgb.astype(int) - 90).max() <= 2


def test_255_is_void_too_where_it_is_no_class() -> None:
    stored = np.array([[0, 255, 1, 40]], np.uint8)
    np.testing.assert_array_equal(labels_from_one(stored, 40), [[255, 255, 0, 39]])
    np.testing.assert_array_equal(labels_from_one(stored, 255), [[255, 254, 0, 39]])


def test_another_content_has_another_fingerprint(png: Path) -> None:
    before = open_data_set(png, "test").fingerprint
    assert open_data_set(png, "test").fingerprint == before
    assert open_data_set(png, "train").fingerprint != before
    with next((png / "labels").iterdir()).open("ab") as file:
        file.write(b"x")
    changed = {open_data_set(png, split).fingerprint for split in ("train", "test")}
    assert before not in changed or len(changed) == 2


class Named:
    """A data set that has but names."""

    name, label_set, fingerprint = "named", label_set("nyuv2_13"), "f"

    def __init__(self, names: list[str]) -> None:
        self.frame_names = names

    def __len__(self) -> int:
        return len(self.frame_names)

    def __getitem__(self, index: int) -> LabelledFrame:
        raise IndexError


def test_a_scene_ends_where_the_numbers_have_a_gap() -> None:
    names = [f"{number:04d}" for start in range(0, 300, 10) for number in (start, start + 1)]
    assert scenes(names) == [range(index, index + 2) for index in range(0, 60, 2)]


def test_neighbours_are_a_scene_where_names_tell_none() -> None:
    assert scenes(["a", "b", "c"]) == [range(1), range(1, 2), range(2, 3)]
    assert [len(scene) for scene in scenes([f"frame-{i}" for i in range(250)])][:3] == [2, 2, 2]


@given(
    gaps=st.lists(st.sampled_from([1, 1, 2, 3]), min_size=200, max_size=400),
    share=st.sampled_from([0.05, 0.1, 0.2, 0.5]),
)
def test_no_scene_is_split_between_training_and_what_is_held_out(gaps: list[int], share: float) -> None:
    data = Named([f"{number:05d}" for number in np.cumsum(gaps)])
    assume(len(scenes(data.frame_names)) == 1 + sum(gap > 1 for gap in gaps[1:]))
    rest, held = hold_out(data, share)
    assert sorted([*rest.frame_names, *held.frame_names]) == sorted(data.frame_names)
    numbers = {int(name) for name in held.frame_names}
    assert not any(int(name) + 1 in numbers or int(name) - 1 in numbers for name in rest.frame_names)


@pytest.mark.parametrize(("names", "share", "message"), [(["1"], 0.5, "too few"), (["1"] * 9, 0.7, "at most 0.5")])
def test_a_share_that_cannot_be_held_out_is_refused(names: list[str], share: float, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        hold_out(Named(names), share)
