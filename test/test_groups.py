"""Groups of classes: ids, names, colours, and what is said where they do not fit the model's classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asymformer_ros
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.models.groups import LabelGroups
from asymformer_ros.models.labels import LabelSet, label_set

CLASSES = LabelSet("four", ("wall", "floor", "rug", "chair"), ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)))
NAVIGATION = """
# what a wheeled robot wants to know
drivable: [rug, floor]
obstacle: chair
rest: ignore
"""


def test_groups_have_ids_in_their_order_and_the_colour_of_their_first_class() -> None:
    groups = LabelGroups.of({"drivable": ["rug", "floor"], "obstacle": "chair", "rest": "ignore"}, CLASSES)
    assert groups.label_set.names == ("drivable", "obstacle")
    assert groups.label_set.colors == ((3, 3, 3), (4, 4, 4))
    assert groups.apply(np.array([[0, 1, 2, 3, 255]], np.uint8)).tolist() == [[255, 0, 0, 1, 255]]


@pytest.mark.parametrize(
    ("groups", "names", "table"),
    [
        ({"up": ["wall"], "rest": "down"}, ("up", "down"), [0, 1, 1, 1]),
        ({"up": ["wall"], "down": ["floor"], "rest": "up"}, ("up", "down"), [0, 1, 0, 0]),
        ({"ignore": ["wall", "floor"], "rest": "seen"}, ("seen",), [255, 255, 0, 0]),
        ({"all": ["wall", "floor", "rug", "chair"]}, ("all",), [0, 0, 0, 0]),
        ({"rest": "all"}, ("all",), [0, 0, 0, 0]),
    ],
)
def test_the_rest_is_a_group_of_its_own_or_joins_one_or_is_ignored(
    groups: dict[str, object], names: tuple[str, ...], table: list[int]
) -> None:
    made = LabelGroups.of(groups, CLASSES)
    assert made.label_set.names == names
    assert made.table[:4].tolist() == table
    assert (made.table[4:] == UNLABELLED).all()


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"drivable": ["flor"], "rest": "ignore"}, "'drivable' has the class 'flor', which four does not.*'floor'"),
        ({"drivable": ["Rug "], "rest": "ignore"}, "the nearest there is 'rug'"),
        ({"drivable": [1], "rest": "ignore"}, "group 'drivable' has the class 1, which four does not have"),
        ({"a": ["floor"], "b": ["floor"], "rest": "ignore"}, "'floor' stands in 'a' and again in 'b'"),
        ({"a": ["floor", "floor"], "rest": "ignore"}, "'floor' stands in 'a' and again in 'a'"),
        ({"a": ["floor"]}, "no group has wall, rug, chair: add them, or `rest: ignore`"),
        ({"a": [], "rest": "ignore"}, r"group 'a' is \[\]: expected a list of class names"),
        ({"a": None, "rest": "ignore"}, "group 'a' is None: expected a list"),
        ({"rest": "ignore"}, "every class is ignored: name a group"),
        ({}, "expected groups such as `drivable: "),
        (["floor"], "expected groups such as `drivable: "),
    ],
)
def test_what_does_not_fit_is_said_by_name(groups: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        LabelGroups.of(groups, CLASSES)


def test_a_yaml_file_says_the_same_and_its_stem_is_the_name(tmp_path: Path) -> None:
    file = tmp_path / "navigation.yaml"
    file.write_text(NAVIGATION)
    groups = LabelGroups.read(file, CLASSES)
    assert (groups.label_set.name, groups.label_set.names) == ("navigation", ("drivable", "obstacle"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot read the label groups .*: .*No such file"),
        ("drivable: [floor", "cannot read the label groups"),
        ("\xff".encode("latin-1").decode("latin-1"), "expected groups such as"),
        ("", "expected groups such as .*got None"),
        ("a: [floor]\nb: [rug]\na: [wall]\nrest: ignore", "group 'a' stands there twice"),
        ("a: !!python/object/apply:os.getcwd []", "cannot read the label groups"),
    ],
)
def test_a_bad_file_is_one_error_that_names_it(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "bad.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=told) as caught:
        LabelGroups.read(file, CLASSES)
    assert "bad.yaml" in str(caught.value)


@given(st.lists(st.sampled_from(["a", "b", "c", "ignore"]), min_size=40, max_size=40), st.integers(0, 2**32 - 1))
def test_any_grouping_sends_each_pixel_to_its_class_s_group(homes: list[str], seed: int) -> None:
    classes = label_set("nyuv2_40")
    if set(homes) == {"ignore"}:
        homes[0] = "a"
    members = {group: [n for n, home in zip(classes.names, homes, strict=True) if home == group] for group in homes}
    groups = LabelGroups.of(members, classes)
    labels = np.random.default_rng(seed).integers(0, 256, (2, 3, 5), dtype=np.uint8)
    for before, after in zip(labels.flat, groups.apply(labels).flat, strict=True):
        home = homes[before] if before < 40 else "ignore"
        assert after == (UNLABELLED if home == "ignore" else groups.label_set.names.index(home))


def test_a_loaded_model_answers_in_groups_everywhere() -> None:
    pytest.importorskip("onnxruntime", reason="serves the demo model here")
    rng = np.random.default_rng(5)
    rgb, depth = rng.integers(0, 256, (256, 320, 3), dtype=np.uint8), np.full((256, 320), 1500, np.uint16)
    with asymformer_ros.load("demo", device="cpu") as plain:
        classes = plain(rgb, depth)
    seen = [one.name for one in classes.classes]
    with asymformer_ros.load("demo", device="cpu", label_groups={"most": seen[:1], "rest": "others"}) as grouped:
        answer = grouped(rgb, depth)
    assert grouped.label_set.names == answer.label_set.names == ("most", "others")
    np.testing.assert_array_equal(answer.labels == 0, classes.labels == classes.classes[0].label)
    np.testing.assert_array_equal(answer.confidence, classes.confidence)
    assert {one.name for one in answer.classes} <= {"most", "others"}
    colors = {tuple(color) for color in answer.label_set.color_table[np.unique(answer.labels)].tolist()}
    assert {tuple(color) for color in answer.overlay(alpha=1.0).reshape(-1, 3).tolist()} == colors


def test_groups_that_do_not_fit_are_told_by_load() -> None:
    pytest.importorskip("onnxruntime", reason="serves the demo model here")
    with pytest.raises(ConfigurationError, match="'flor', which .* does not have: the nearest there is 'floor'"):
        asymformer_ros.load("demo", device="cpu", label_groups={"drivable": ["flor"], "rest": "ignore"})
