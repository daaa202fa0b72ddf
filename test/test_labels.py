"""Classes, their colours, and the files of NYUv2 that say so."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.models.labels import LABEL_SET_NAMES, NYUV2_40_TO_13, LabelSet, label_set, read_label_set

ADJOINING = [
    ("wall", "floor"), ("wall", "ceiling"), ("wall", "door"), ("wall", "window"), ("wall", "picture"),
    ("wall", "cabinet"), ("floor", "chair"), ("floor", "table"), ("floor", "sofa"), ("floor", "bed"),
    ("floor", "floor_mat"), ("cabinet", "counter"), ("counter", "sink"), ("bed", "pillow"), ("sofa", "pillow"),
    ("chair", "table"), ("chair", "desk"), ("table", "books"), ("window", "curtain"), ("window", "blinds"),
    ("bookshelf", "books"), ("shelves", "box"), ("night_stand", "lamp"), ("dresser", "mirror"),
]  # fmt: skip


def lab(color: tuple[int, int, int]) -> NDArray[np.float32]:
    return cv2.cvtColor(np.float32([[color]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]  # type: ignore[return-value]


def distance(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """CIE76 difference."""
    return float(np.linalg.norm(lab(a) - lab(b)))


@pytest.mark.parametrize(("name", "classes"), [("nyuv2_40", 40), ("nyuv2_13", 13), ("sunrgbd_37", 37)])
def test_each_label_set_has_the_classes_of_its_name(name: str, classes: int) -> None:
    assert len(label_set(name)) == classes
    assert label_set(name).name == name


@pytest.mark.parametrize("name", LABEL_SET_NAMES)
def test_any_two_colours_differ_and_none_is_near_black(name: str) -> None:
    colors = label_set(name).colors
    assert min(distance(a, b) for a, b in combinations(colors, 2)) > 25
    assert min(distance(color, (0, 0, 0)) for color in colors) > 25


def test_colours_of_adjoining_classes_differ_much() -> None:
    colors = dict(zip(label_set("nyuv2_40").names, label_set("nyuv2_40").colors, strict=True))
    assert min(distance(colors[a], colors[b]) for a, b in ADJOINING) > 38


def test_sun_rgbd_has_nyuv2s_classes_in_order_without_the_others() -> None:
    others = ("otherstructure", "otherfurniture", "otherprop")
    nyu = [name for name in label_set("nyuv2_40").names if name not in others]
    assert list(label_set("sunrgbd_37").names) == nyu


def test_an_unknown_label_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="'ade20k' is unknown: use one of nyuv2_40, nyuv2_13, sunrgbd_37"):
        label_set("ade20k")


def test_names_are_those_of_nyuv2s_file(nyuv2_labels: Path) -> None:
    loadmat = pytest.importorskip("scipy.io", reason="their file is MATLAB's").loadmat
    names = [str(name[0]) for name in loadmat(nyuv2_labels / "classMapping40.mat")["className"].ravel()]
    ours = [name.replace("_", " ") for name in label_set("nyuv2_40").names]
    assert ours == [name.replace("refridgerator", "refrigerator") for name in names]


def test_the_13_classes_are_those_of_nyuv2s_file(nyuv2_labels: Path) -> None:
    loadmat = pytest.importorskip("scipy.io", reason="their file is MATLAB's").loadmat
    labels, names = loadmat(nyuv2_labels / "class13Mapping.mat")["classMapping13"][0, 0].item()
    assert tuple(labels.ravel() - 1) == NYUV2_40_TO_13
    assert tuple(str(name[0]) for name in names.ravel()) == label_set("nyuv2_13").names


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_colorize_looks_each_label_up(labels: NDArray[np.uint8]) -> None:
    nyu = label_set("nyuv2_40")
    expected = [[nyu.colors[v] if v < 40 else (0, 0, 0) for v in row] for row in labels]
    assert nyu.colorize(labels).tolist() == [[list(color) for color in row] for row in expected]


def test_unlabelled_is_black_even_beside_255_classes() -> None:
    full = LabelSet("full", tuple(f"c{i}" for i in range(255)), ((1, 2, 3),) * 255)
    assert full.colorize(np.uint8([[254, UNLABELLED]])).tolist() == [[[1, 2, 3], [0, 0, 0]]]


def test_colorize_takes_a_part_of_an_image() -> None:
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(label_set("nyuv2_40").colorize(labels[1:5, ::2]),
                                  label_set("nyuv2_40").color_table[labels[1:5, ::2]])  # fmt: skip


COLORS = st.tuples(*[st.integers(0, 255)] * 3)
LABEL_SETS = st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True).flatmap(
    lambda names: st.builds(
        LabelSet,
        st.text(),
        st.just(tuple(names)),
        st.lists(COLORS, min_size=len(names), max_size=len(names)).map(tuple),
    )
)


@given(LABEL_SETS)
def test_a_label_set_comes_back_from_json(labels: LabelSet) -> None:
    assert LabelSet.from_json(json.loads(json.dumps(labels.to_json()))) == labels


def test_a_label_set_is_read_from_a_file(tmp_path: Path) -> None:
    custom = LabelSet("lab", ("floor", "robot"), ((1, 2, 3), (255, 0, 0)))
    (tmp_path / "lab.json").write_text(json.dumps(custom.to_json()))
    assert read_label_set(str(tmp_path / "lab.json")) == custom
    assert read_label_set("nyuv2_13") == label_set("nyuv2_13")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "holds a list"),
        ("{", "cannot read"),
        ("{}", "KeyError 'classes'"),
        ('{"name": "a", "classes": [{"color": [1, 2, 3]}]}', "KeyError 'name'"),
        ('{"name": "a", "classes": [{"name": "b", "color": 3}]}', "TypeError"),
        ('{"name": "a", "classes": [{"name": "b", "color": [1, 2, "x"]}]}', "colour of b"),
    ],
)
def test_a_file_that_is_no_label_set_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_label_set(str(tmp_path / "lab.json"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the label set"):
        read_label_set(str(tmp_path / "lab.json"))


@pytest.mark.parametrize(
    ("names", "colors", "message"),
    [
        ((), (), "has 0 classes, expected 1..255"),
        (tuple(map(str, range(256))), ((0, 0, 0),) * 256, "has 256 classes"),
        (("a", "b"), ((0, 0, 0),), "2 names but 1 colours"),
        (("a", "a"), ((0, 0, 0), (1, 1, 1)), "'a' empty or more than once"),
        (("",), ((0, 0, 0),), "'' empty or more than once"),
        (("a",), ((0, 0, 256),), "colour of a must be three integers"),
        (("a",), ((0, 0),), "colour of a must be three integers"),
    ],
)
def test_a_label_set_that_makes_no_sense_is_refused(
    names: tuple[str, ...], colors: tuple[tuple[int, int, int], ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LabelSet("bad", names, colors)


def test_classes_without_a_colour_get_one_of_their_own() -> None:
    first = label_set("nyuv2_40").colors[0]
    classes = [{"name": "a"}, {"name": "b", "color": list(first)}, *({"name": f"c{at}"} for at in range(253))]
    found = LabelSet.from_json({"name": "many", "classes": classes})
    assert found.colors[1] == first
    assert len(set(found.colors)) == len(found) == 255
    assert LabelSet.from_json(found.to_json()) == found
