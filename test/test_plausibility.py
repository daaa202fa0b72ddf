"""Pairs that can be segmented and are odd all the same."""

import re

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")
from ros_harness import header
from sensor_msgs.msg import Image

from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.plausibility import oddities

pytestmark = pytest.mark.ros
NOW = 1_700_000_000 * 10**9
GOOD = np.full((48, 64), 1.5, np.float32)


def told(
    stamp: int = NOW, depth: np.ndarray = GOOD, now: int = NOW, frames: tuple[str, str] = ("a", "a")
) -> dict[str, str]:
    rgb, registered = (Image(header=header(stamp, frame)) for frame in frames)
    return dict(oddities(Pair(rgb, registered, None), depth, now))


def test_nothing_is_odd_about_a_good_pair() -> None:
    holes = GOOD.copy()
    holes[10:40] = np.nan
    assert told() == told(depth=holes) == told(stamp=NOW - 10**9) == {}


@pytest.mark.parametrize(
    ("stamp", "now", "expected"),
    [
        (0, NOW, "the stamps are zero"),
        (NOW - 3600 * 10**9, NOW, "3600 s behind this node's clock.*use_sim_time"),
        (NOW + 3600 * 10**9, NOW, "3600.0 s ahead of this node's clock"),
        (NOW, 0, "no /clock arrives"),
    ],
)
def test_stamps_that_cannot_be_of_now_are_named(stamp: int, now: int, expected: str) -> None:
    ((kind, text),) = told(stamp=stamp, now=now).items()
    assert kind == "stamp"
    assert re.search(expected, text)


def test_depth_in_another_frame_is_named() -> None:
    text = told(frames=("camera_color_optical_frame", "camera_depth_optical_frame"))["frame_id"]
    assert "'camera_depth_optical_frame' and colour in 'camera_color_optical_frame'" in text


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (np.full((48, 64), np.nan, np.float32), "depth is empty"),
        (GOOD * 1000, "farther than 1.5e+03 m: its unit"),
        (GOOD / 1000, "nearer than 0.0015 m: its unit"),
    ],
)
def test_depth_that_is_empty_or_in_another_unit_is_named(depth: np.ndarray, expected: str) -> None:
    assert expected in told(depth=depth)["depth"]


def test_depth_that_is_known_in_a_few_pixels_is_not_empty() -> None:
    depth = np.full((48, 64), np.nan, np.float32)
    depth[3, 5] = 1.0
    assert told(depth=depth) == {}
