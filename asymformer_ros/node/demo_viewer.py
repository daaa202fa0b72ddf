"""The node that watches the demo: rates, stages, classes in view, and one picture of matching images."""

from __future__ import annotations

import signal
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from asymformer_ros.frame import RgbdFrame
from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.conversions import frame_from_messages

_IMAGES_KEPT = 150  # of the camera, until the overlay of their stamp arrives
_RATE_WINDOW = 5.0  # seconds
_CLASSES_SHOWN = 4
_WORTH_SHOWING = 0.01
Stamp = tuple[int, int]


@dataclass(frozen=True)
class Progress:
    """What the viewer has seen when it reports, once a second."""

    seconds: float
    """Since the first overlay; 0 before it."""
    line: str


class DemoViewer(Node):
    """Subscribes to what the camera and the segmentation node publish."""

    def __init__(self) -> None:
        super().__init__("demo_viewer")
        self.overlays = 0
        self.camera_images = 0
        self.first_overlay: float | None = None
        self.summary: SegmentationSummary | None = None
        self.ages: list[float] = []
        self._arrivals: deque[float] = deque()
        self._rgb: OrderedDict[Stamp, Image] = OrderedDict()
        self._depth: OrderedDict[Stamp, Image] = OrderedDict()
        self._matching: tuple[Image, Image, Image] | None = None
        self.create_subscription(Image, "rgb/image", self._on_rgb, qos_profile_sensor_data)
        self.create_subscription(Image, "depth/image", self._on_depth, qos_profile_sensor_data)
        self.create_subscription(Image, "segmentation/overlay", self._on_overlay, qos_profile_sensor_data)
        self.create_subscription(SegmentationSummary, "segmentation/summary", self._on_summary, 10)

    def images(self) -> tuple[RgbdFrame, NDArray[np.uint8]] | None:
        """The newest camera frame and its overlay, (H, W, 3) uint8 RGB, of one stamp; None where there were none."""
        if self._matching is None:
            return None
        rgb, depth, overlay = self._matching
        return frame_from_messages(rgb, depth), frame_from_messages(overlay, depth).rgb

    def rate(self) -> float:
        """Overlays a second, over the last five."""
        if self.first_overlay is None:
            return 0.0
        now = time.monotonic()
        while self._arrivals and self._arrivals[0] < now - _RATE_WINDOW:
            self._arrivals.popleft()
        return len(self._arrivals) / max(0.2, min(_RATE_WINDOW, now - self.first_overlay))

    def line(self) -> str:
        """One line on what is going on."""
        if self.summary is None or self.first_overlay is None:
            return f"waiting for the first segmented frame ({self.camera_images} camera images so far)"
        summary = self.summary
        seen = [
            f"{one.name} {one.pixel_fraction:.0%}" for one in summary.classes if one.pixel_fraction >= _WORTH_SHOWING
        ]
        more = len(summary.classes) - len(seen[:_CLASSES_SHOWN])
        return (
            f"{time.monotonic() - self.first_overlay:3.0f} s | {self.rate():4.1f} Hz | age {summary.age_ms:.0f} ms | "
            f"convert {summary.convert_ms:.1f} + prepare {summary.preprocess_ms:.1f} + network "
            f"{summary.inference_ms:.1f} + post {summary.postprocess_ms:.1f} ms | {summary.backend} | "
            + ", ".join(seen[:_CLASSES_SHOWN])
            + (f" and {more} more" if more > 0 else "")
        )

    def _on_rgb(self, message: Image) -> None:
        self.camera_images += 1
        _keep(self._rgb, message)

    def _on_depth(self, message: Image) -> None:
        _keep(self._depth, message)

    def _on_overlay(self, message: Image) -> None:
        now = time.monotonic()
        self.first_overlay = self.first_overlay or now
        self.overlays += 1
        self._arrivals.append(now)
        rgb, depth = _take(self._rgb, _stamp(message)), _take(self._depth, _stamp(message))
        if rgb is not None and depth is not None:
            self._matching = (rgb, depth, message)

    def _on_summary(self, message: SegmentationSummary) -> None:
        self.summary = message
        self.ages.append(message.age_ms)


def _stamp(message: Image) -> Stamp:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _keep(images: OrderedDict[Stamp, Image], message: Image) -> None:
    images[_stamp(message)] = message
    while len(images) > _IMAGES_KEPT:
        images.popitem(last=False)


def _take(images: OrderedDict[Stamp, Image], stamp: Stamp) -> Image | None:
    """The image of this stamp; it and everything older is forgotten, for overlays come in order."""
    found = images.get(stamp)
    while images and next(iter(images)) <= stamp:
        images.popitem(last=False)
    return found


def watch(go_on: Callable[[Progress], bool]) -> DemoViewer:
    """Watch until `go_on`, called once a second, says no, or SIGINT or SIGTERM comes; returns what was seen.

    The environment must name the ROS domain before. What `go_on` raises passes through.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    viewer = DemoViewer()
    executor = SingleThreadedExecutor()
    executor.add_node(viewer)
    report = time.monotonic() + 1
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
            if time.monotonic() < report:
                continue
            report += 1
            seconds = time.monotonic() - viewer.first_overlay if viewer.first_overlay else 0.0
            if not go_on(Progress(seconds, viewer.line())):
                break
    finally:
        executor.shutdown()
        viewer.destroy_node()
        rclpy.try_shutdown()
    return viewer
