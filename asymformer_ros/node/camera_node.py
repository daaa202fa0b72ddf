"""A node that stands in for an RGB-D camera: simulated rooms or a recorded folder, as ROS topics."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.node import OWN_CAMERAS
from asymformer_ros.node.conversions import image_message
from asymformer_ros.node.frame_source import FramesAhead, FrameSource, RecordedSource, SensorNoise
from asymformer_ros.node.process import run_process, spin

_QUEUE_DEPTH = 5
_RATES = {"sim": 8.0, "folder": 30.0}  # where the parameter rate is 0
_MAX_RATE = 1000.0


@dataclass(frozen=True)
class CameraSettings:
    """The parameters of the camera node with their defaults; docs/cameras.md explains each.

    Raises ConfigurationError for a value out of range.
    """

    source: str = "sim"
    folder: str = ""
    rate: float = 0.0
    loop: bool = True
    width: int = 320
    height: int = 240
    seed: int = 2_000_043
    frame_id: str = "camera_color_optical_frame"
    reliability: str = "best_effort"
    depth_encoding: str = "16UC1"
    pixel_noise: float = 0.0
    depth_holes: float = 0.0
    stamp_jitter: float = 0.0
    duration: float = 0.0

    def __post_init__(self) -> None:
        _require_choice("source", self.source, OWN_CAMERAS)
        _require_choice("reliability", self.reliability, ("best_effort", "reliable"))
        _require_choice("depth_encoding", self.depth_encoding, ("16UC1", "32FC1"))
        if not 0 <= self.rate <= _MAX_RATE:
            raise ConfigurationError(f"parameter rate is {self.rate}: expected frames a second, up to 1000, or 0")
        if self.stamp_jitter < 0 or self.duration < 0 or self.seed < 0:
            raise ConfigurationError("parameters stamp_jitter, duration and seed must not be below 0")
        if self.source == "folder" and not self.folder:
            raise ConfigurationError("parameter source is 'folder': set parameter folder to the recording's path")

    @property
    def hertz(self) -> float:
        """The rate, where it is 0 the source's own."""
        return self.rate or _RATES[self.source]

    def open_camera(self) -> FrameSource:
        """The camera that these settings name. Raises AsymformerError where it cannot be had."""
        if self.source == "folder":
            return RecordedSource(Path(os.path.expanduser(self.folder)), self.loop)
        from asymformer_ros.simulation.live import LiveWorld  # needs a ray caster, which a recording does not

        return LiveWorld(Intrinsics.typical(self.width, self.height), self.hertz, self.seed)


class CameraNode(Node):
    """Publishes rgb/image, depth/image, rgb/camera_info and, of the simulation, truth/labels.

    `finished` says why there is nothing more, once so.
    """

    def __init__(self) -> None:
        super().__init__("camera_node")
        self.settings = settings = _declare(self)
        camera = settings.open_camera()
        self.finished = ""
        qos = QoSProfile(depth=_QUEUE_DEPTH, reliability=ReliabilityPolicy[settings.reliability.upper()])
        self._rgb = self.create_publisher(Image, "rgb/image", qos)
        self._depth = self.create_publisher(Image, "depth/image", qos)
        self._info = self.create_publisher(CameraInfo, "rgb/camera_info", qos)
        self._truth = self.create_publisher(Image, "truth/labels", qos) if settings.source == "sim" else None
        self._info_message = camera_info_message(camera.intrinsics)
        self._rng = np.random.default_rng(settings.seed)
        noise = SensorNoise(settings.pixel_noise, settings.depth_holes)
        self._frames = FramesAhead(camera, noise, settings.seed)
        self._end = time.monotonic() + settings.duration if settings.duration else float("inf")
        self.create_timer(1 / settings.hertz, self._tick)
        self._announce(camera)

    def destroy_node(self) -> None:
        self._frames.close()
        super().destroy_node()

    def _announce(self, camera: FrameSource) -> None:
        size, what = camera.intrinsics, f"simulated rooms from seed {self.settings.seed} on"
        if isinstance(camera, RecordedSource):
            what = f"{len(camera.recording)} frames of '{camera.recording.folder}'"
            if camera.recording.intrinsics_are_guessed:
                self.get_logger().warning(
                    "the recording has no camera-intrinsics.txt: camera_info holds a typical RGB-D camera's guess "
                    f"(f = {size.fx:.0f} pixels)"
                )
        self.get_logger().info(f"publishing {what}, {size.width}x{size.height}, at {self.settings.hertz:g} Hz")

    def _tick(self) -> None:
        if time.monotonic() >= self._end:
            self.finished = "the duration is over"
        if self.finished or not self._anybody_listens():
            return
        try:
            frame = self._frames.next()
        except queue.Empty:
            self.get_logger().warning(
                f"frames are not ready at {self.settings.hertz:g} Hz: lower the rate or the size",
                throttle_duration_sec=10.0,
                skip_first=True,
            )
            return
        if frame is None:
            self.finished = "the recording is over"
            return
        self._publish(frame)

    def _anybody_listens(self) -> bool:
        publishers = filter(None, (self._rgb, self._depth, self._info, self._truth))
        return any(publisher.get_subscription_count() for publisher in publishers)

    def _publish(self, frame: RawRgbd) -> None:
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=self.settings.frame_id)
        jitter = self._rng.uniform(-1, 1) * self.settings.stamp_jitter
        depth_stamp = (now + Duration(seconds=jitter)).to_msg() if jitter else header.stamp
        self._rgb.publish(image_message(frame.rgb, "rgb8", header))
        self._depth.publish(self._depth_message(depth_stamp, frame.depth))
        self._info_message.header = header
        self._info.publish(self._info_message)
        if frame.labels is not None and self._truth and self._truth.get_subscription_count():
            self._truth.publish(image_message(frame.labels, "mono8", header))

    def _depth_message(self, stamp: Time, depth: NDArray[np.uint16]) -> Image:
        header = Header(stamp=stamp, frame_id=self.settings.frame_id)
        if self.settings.depth_encoding == "16UC1":
            return image_message(depth, "16UC1", header)
        return image_message(metres_from_millimetres(depth), "32FC1", header)


def camera_info_message(intrinsics: Intrinsics) -> CameraInfo:
    """CameraInfo of a rectified, undistorted camera, without a header."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return CameraInfo(
        width=intrinsics.width,
        height=intrinsics.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def _declare(node: Node) -> CameraSettings:
    """Declare every setting as a read-only parameter; whole numbers are accepted where a fraction is expected."""
    values: dict[str, Any] = {}
    for field in fields(CameraSettings):
        descriptor = ParameterDescriptor(read_only=True, dynamic_typing=True)
        value = node.declare_parameter(field.name, field.default, descriptor).value
        expected = type(field.default)
        if expected is float and type(value) is int:
            value = float(value)
        if type(value) is not expected:
            raise ConfigurationError(f"parameter {field.name} is {value!r}: expected a {expected.__name__}")
        values[field.name] = value
    return CameraSettings(**values)


def _require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigurationError(f"parameter {name} is '{value}': expected one of {', '.join(choices)}")


def main(args: Sequence[str] | None = None, stop: threading.Event | None = None) -> int:
    """Run the node until `stop`, SIGINT, SIGTERM, SIGHUP or its end: 0; after a user's mistake one line and 1."""
    return run_process("camera_node", _serve, args, stop)


def _serve(stop: threading.Event) -> int:
    node = CameraNode()
    try:
        spin(node, lambda: stop.is_set() or bool(node.finished))
        if node.finished:
            node.get_logger().info(node.finished)
    finally:
        node.destroy_node()
    return 0


if __name__ == "__main__":
    sys.exit(main())
