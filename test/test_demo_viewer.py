"""What the demo's viewer makes of the messages that it hears, over real DDS."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from ros_harness import Peer, free_domain, header
from sensor_msgs.msg import Image

from asymformer_ros.cli.demo_report import closing_lines, live_line, picture
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.msg import ClassSummary, SegmentationSummary
from asymformer_ros.node.conversions import image_message
from asymformer_ros.node.demo_viewer import TRUTH, DemoViewer, Moment, Stamps, watch

pytestmark = pytest.mark.ros
WALL, BED = 0, 3
GRAY = np.full((60, 80, 3), 90, np.uint8)


def stamped(nanoseconds: int) -> SimpleNamespace:
    return SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=7, nanosec=nanoseconds)))


def test_messages_of_one_stamp_are_complete_in_any_order_and_once() -> None:
    stamps = Stamps(("rgb", "labels"))
    first, second = stamped(1), stamped(2)
    assert stamps.add("labels", first) is None
    assert stamps.add("labels", second) is None
    assert stamps.add("rgb", second) == {"labels": second, "rgb": second}
    assert stamps.add("rgb", first) is None, "older than a complete one: forgotten"


def test_camera_images_that_are_never_segmented_are_forgotten() -> None:
    stamps = Stamps(("rgb", "labels"))
    for number in range(1000):
        stamps.add("rgb", stamped(number))
    assert len(stamps._open) <= 100


def moment(truth: np.ndarray | None) -> Moment:
    """The segmentation: wall, and below it a bed."""
    labels = np.full((60, 80), WALL, np.uint8)
    labels[40:] = BED
    color = TRUTH.colorize(labels)
    frame = RgbdFrame(GRAY, np.ones((60, 80), np.float32))
    return Moment(frame, labels, color, color, {WALL: "wall", BED: "bed"}, truth)


def test_the_legend_names_what_truth_and_segmentation_show() -> None:
    truth = np.full((60, 80), TRUTH.names.index("sofa"), np.uint8)
    truth[:10] = WALL
    truth[59, 79] = TRUTH.names.index("lamp")  # too small to see
    legend = moment(truth).legend()
    assert legend == [(name, TRUTH.colors[TRUTH.names.index(name)]) for name in ("sofa", "wall", "bed")]
    assert [name for name, _ in moment(None).legend()] == ["wall", "bed"]


def test_the_picture_has_a_panel_for_the_truth_where_it_is_known() -> None:
    truth = np.full((60, 80), WALL, np.uint8)
    assert picture(moment(truth), "segmentation").shape[1] == 2 * 80 + 4
    assert picture(moment(None), "segmentation").shape[1] == 3 * 80 + 2 * 4


class Robot:
    """Publishes what a camera and the segmentation node would, of an image that is half wall and half bed."""

    topics = (
        "rgb/image",
        "depth/image",
        "truth/labels",
        "segmentation/labels",
        "segmentation/color",
        "segmentation/overlay",
    )

    def __init__(self, domain: int, names: tuple[str, str]) -> None:
        self.peer = Peer(domain)
        self.publishers = [self.peer.advertise(Image, topic) for topic in self.topics]
        self.summaries = self.peer.node.create_publisher(SegmentationSummary, "segmentation/summary", 10)
        classes = [
            ClassSummary(id=label, name=name, pixel_fraction=0.5)
            for label, name in zip((WALL, BED), names, strict=True)
        ]
        self.summary = SegmentationSummary(classes=classes, age_ms=20.0, backend="none")

    def publish(self, stamp: int, labels: np.ndarray, truth: np.ndarray) -> None:
        depth, color = np.full(labels.shape, 1000, np.uint16), TRUTH.colorize(labels)
        images = (GRAY, depth, truth, labels, color, color)
        encodings = ("rgb8", "16UC1", "mono8", "mono8", "rgb8", "rgb8")
        for publisher, pixels, encoding in zip(self.publishers, images, encodings, strict=True):
            publisher.publish(image_message(pixels, encoding, header(stamp)))
        self.summary.header = header(stamp)
        self.summaries.publish(self.summary)


@pytest.fixture
def watch_robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Publish three moments, half of whose wall is called a bed, and return what the viewer saw."""
    domain = free_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    truth = np.full((60, 80), WALL, np.uint8)
    truth[:30] = BED
    labels = truth.copy()
    labels[30:45] = BED
    robots = []

    def watch_it(*names: str) -> DemoViewer:
        robot = Robot(domain, names)
        robots.append(robot)
        stamps = itertools.count()

        def go_on(viewer: DemoViewer) -> bool:
            if all(publisher.get_subscription_count() for publisher in (*robot.publishers, robot.summaries)):
                robot.publish(next(stamps), labels, truth)
            return viewer.best is None or viewer.segmented < 3

        return watch(go_on, with_truth=True)

    yield watch_it
    for robot in robots:
        robot.peer.close()


def test_the_viewer_compares_each_segmentation_with_the_truth_of_its_stamp(watch_robot: Any) -> None:
    viewer = watch_robot("wall", "bed")
    assert viewer.compared >= 2
    assert viewer.class_iou() == pytest.approx({"bed": 2 / 3, "wall": 0.5})
    lines = list(closing_lines(viewer))
    assert lines[0].endswith("frames segmented, age p50 20 ms, p95 20 ms")
    assert lines[1] == f"mIoU 58.3% over {viewer.compared} frames, against the simulation's truth"
    assert lines[2:] == ["IoU: bed 67%, wall 50%"]
    assert "mIoU 58.3%" in live_line(viewer, 1000)
    for width in (60, 79, 100, 200):
        assert len(live_line(viewer, width)) <= width
        assert re.search(r"\d Hz \| age 20 ms \| mIoU 58.3% \| .*network \d", live_line(viewer, width))
    assert "wall" in live_line(viewer, 100)


def test_a_model_with_other_classes_is_not_compared_with_the_truth(watch_robot: Any) -> None:
    viewer = watch_robot("wall", "sofa")
    assert viewer.best.truth is None
    assert viewer.compared == 0
    assert "mIoU" not in " ".join([live_line(viewer, 1000), *closing_lines(viewer)])
    assert picture(viewer.best, "segmentation").shape[1] == 3 * 80 + 2 * 4
