"""The node that watches the demo: what camera, segmentation and truth say of each moment, and how well they agree."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from asymformer_ros.evaluation.confusion import ConfusionMatrix, Scores
from asymformer_ros.frames.frame import UNLABELLED, RgbdFrame
from asymformer_ros.frames.overlay import blend
from asymformer_ros.models.labels import Color, label_set
from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.conversions import frame_from_messages
from asymformer_ros.system.signals import stop_event

TRUTH = label_set("nyuv2_40")
"""Classes of truth/labels."""

_IMAGES = {
    "rgb": "rgb/image",
    "depth": "depth/image",
    "labels": "segmentation/labels",
    "color": "segmentation/color",
    "overlay": "segmentation/overlay",
}
_STAMPS_KEPT = 100  # of camera images until they are segmented
_RATE_WINDOW = 5.0  # seconds
_IN_VIEW = 0.01  # share of the image


@dataclass(frozen=True)
class Moment:
    """What was published under one stamp: labels and truth (H, W) uint8, color and overlay (H, W, 3) uint8 RGB.

    names: of the classes that the segmentation has found. truth: 0-based class of TRUTH, None where it is not known or
    the model has other classes.
    """

    frame: RgbdFrame
    labels: NDArray[np.uint8]
    color: NDArray[np.uint8]
    overlay: NDArray[np.uint8]
    names: dict[int, str]
    truth: NDArray[np.uint8] | None

    @property
    def variety(self) -> int:
        """How many classes are in view."""
        return len(classes_in_view(self.labels if self.truth is None else self.truth))

    def over_camera(self, truth: NDArray[np.uint8], alpha: float) -> NDArray[np.uint8]:
        """Colours of true classes over the camera's image, as the segmentation's overlay shows its own."""
        return blend(self.frame.rgb, TRUTH.colorize(truth), truth, alpha)

    def legend(self) -> list[tuple[str, Color]]:
        """Name and colour of each class in view, those of the truth first."""
        found = {label: (self.names[label], self._color(label)) for label in classes_in_view(self.labels)}
        true = [] if self.truth is None else classes_in_view(self.truth)
        return list({**{label: (TRUTH.names[label], TRUTH.colors[label]) for label in true}, **found}.values())

    def _color(self, label: int) -> Color:
        red, green, blue = self.color[self.labels == label][0]
        return int(red), int(green), int(blue)


class Stamps:
    """Messages by stamp, until one of every name has come."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._open: dict[tuple[int, int], dict[str, Any]] = {}

    def add(self, name: str, message: Any) -> dict[str, Any] | None:
        """The messages of this one's stamp where they are complete now; they and all older ones are forgotten then,
        for each topic's messages come in order."""
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        messages = self._open.setdefault(stamp, {})
        messages[name] = message
        complete = messages.keys() == self._names
        while self._open and (len(self._open) > _STAMPS_KEPT or (complete and min(self._open) <= stamp)):
            del self._open[min(self._open)]
        return messages if complete else None


class DemoViewer(Node):
    """Subscribes to what the camera and the segmentation node publish; with_truth: to the simulation's truth, too."""

    def __init__(self, with_truth: bool) -> None:
        super().__init__("demo_viewer")
        self.camera_images = 0
        self.segmented = 0
        self.compared = 0
        self.ages: list[float] = []
        self.summary: SegmentationSummary | None = None
        self.best: Moment | None = None
        self._first: float | None = None
        self._arrivals: deque[float] = deque()
        self._confusion = ConfusionMatrix(len(TRUTH))
        images = {**_IMAGES, "truth": "truth/labels"} if with_truth else _IMAGES
        self._stamps = Stamps((*images, "summary"))
        for name, topic in images.items():
            self.create_subscription(Image, topic, partial(self._on_message, name), qos_profile_sensor_data)
        self.create_subscription(SegmentationSummary, "segmentation/summary", self._on_summary, 10)

    @property
    def seconds(self) -> float:
        """Since the first segmented frame; 0 before it."""
        return time.monotonic() - self._first if self._first else 0.0

    def rate(self) -> float:
        """Segmented frames a second, over the last five."""
        while self._arrivals and self._arrivals[0] < time.monotonic() - _RATE_WINDOW:
            self._arrivals.popleft()
        return len(self._arrivals) / max(0.2, min(_RATE_WINDOW, self.seconds))

    def scores(self) -> Scores | None:
        """Of all frames that were compared with the truth; None where none was."""
        return self._confusion.scores() if self._confusion.counts.any() else None

    def class_iou(self) -> dict[str, float]:
        """Intersection over union of each class that the truth has shown, the best first."""
        scores = self.scores()
        if scores is None:
            return {}
        shown = zip(TRUTH.names, scores.class_iou, self._confusion.counts, strict=True)
        found = {name: iou for name, iou, counts in shown if iou is not None and counts.any()}
        return dict(sorted(found.items(), key=lambda entry: -entry[1]))

    def _on_summary(self, summary: SegmentationSummary) -> None:
        now = time.monotonic()
        self._first = self._first or now
        self._arrivals.append(now)
        self.segmented += 1
        self.ages.append(summary.age_ms)
        self.summary = summary
        self._on_message("summary", summary)

    def _on_message(self, name: str, message: Any) -> None:
        self.camera_images += name == "rgb"
        messages = self._stamps.add(name, message)
        if messages is None:
            return
        moment = _moment(messages)
        if moment.truth is not None:
            self._confusion.add(moment.truth, moment.labels)
            self.compared += 1
        if self.best is None or moment.variety > self.best.variety:
            self.best = moment


def classes_in_view(labels: NDArray[np.uint8]) -> list[int]:
    """Classes with at least a hundredth of an image, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=256)[:UNLABELLED]
    return [int(label) for label in np.argsort(-counts, kind="stable") if counts[label] >= _IN_VIEW * labels.size]


def _moment(messages: dict[str, Any]) -> Moment:
    depth, summary = messages["depth"], messages["summary"]
    names = {one.id: one.name for one in summary.classes}
    comparable = all(TRUTH.names[label : label + 1] == (name,) for label, name in names.items())
    return Moment(
        frame=frame_from_messages(messages["rgb"], depth),
        labels=_labels(messages["labels"]),
        color=frame_from_messages(messages["color"], depth).rgb,
        overlay=frame_from_messages(messages["overlay"], depth).rgb,
        names=names,
        truth=_labels(messages["truth"]) if "truth" in messages and comparable else None,
    )


def _labels(message: Image) -> NDArray[np.uint8]:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)


def watch(go_on: Callable[[DemoViewer], bool], with_truth: bool) -> DemoViewer:
    """Watch until `go_on`, called once a second, says no, or SIGINT or SIGTERM comes; returns what was seen.

    The environment must name the ROS domain before. What `go_on` raises passes through.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    viewer = DemoViewer(with_truth)
    executor = SingleThreadedExecutor()
    executor.add_node(viewer)
    report = time.monotonic() + 1
    try:
        with stop_event(signal.SIGINT, signal.SIGTERM) as stop:
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)
                if time.monotonic() < report:
                    continue
                report += 1
                if not go_on(viewer):
                    break
    finally:
        executor.shutdown()
        viewer.destroy_node()
        rclpy.try_shutdown()
    return viewer
