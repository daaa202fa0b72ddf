"""A segmentation node under test, a camera that feeds it and a consumer of all that it publishes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from ros_harness import Peer, RosProcess, header, stamps, wait_until
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.conversions import image_message

OUTPUTS = {
    "labels": Image,
    "color": Image,
    "overlay": Image,
    "confidence": Image,
    "summary": SegmentationSummary,
    "camera_info": CameraInfo,
    "points": PointCloud2,
}
RAMP = np.linspace(0, 255, 180 * 320 * 3).reshape(180, 320, 3).astype(np.uint8)
MILLIMETRES = np.tile(np.linspace(500, 4000, 320).astype(np.uint16), (180, 1))
MILLIMETRES[:20] = 0


class Session:
    """A node under test, a camera that feeds it and a consumer of all that it publishes."""

    def __init__(self, peer: Peer, node: RosProcess, prefix: str = "") -> None:
        self.peer, self.node = peer, node
        self.rgb = peer.advertise(Image, f"{prefix}/rgb/image")
        self.depth = peer.advertise(Image, f"{prefix}/depth/image")
        self.info = peer.advertise(CameraInfo, f"{prefix}/rgb/camera_info")
        self.received: dict[str, list[Any]] = {}
        self.prefix = prefix
        self.calibrated = True
        self.sent: list[int] = []

    def listen(self, *names: str) -> Session:
        for name in names or OUTPUTS:
            self.received[name] = self.peer.listen(OUTPUTS[name], f"{self.prefix}/segmentation/{name}")
        return self

    def connected(self) -> Session:
        """Wait until the node subscribes to the camera and publishes to the consumer."""
        inputs = (self.rgb, self.depth)
        wait_until(
            lambda: self.node.require_alive() and all(topic.get_subscription_count() for topic in inputs),
            "subscriptions",
        )
        topics = [f"{self.prefix}/segmentation/{name}" for name in self.received]
        wait_until(lambda: all(self.peer.node.count_publishers(topic) for topic in topics), "publishers")
        return self

    def send(self, rgb: np.ndarray = RAMP, encoding: str = "rgb8", stamp_ns: int | None = None) -> int:
        """Publish one pair, and its calibration where it is `calibrated`; returns its stamp."""
        stamp_ns = self.peer.node.get_clock().now().nanoseconds if stamp_ns is None else stamp_ns
        self.sent.append(stamp_ns)
        sent = header(stamp_ns)
        if self.calibrated:
            self.info.publish(CameraInfo(header=sent, height=rgb.shape[0], width=rgb.shape[1], k=[5.0] * 9))
        self.rgb.publish(image_message(rgb, encoding, sent))
        self.depth.publish(image_message(MILLIMETRES, "16UC1", sent))
        return stamp_ns

    def exchange(self, name: str = "labels", **sent: Any) -> Any:
        """Publish pairs until one comes back on an output; returns that message."""
        wanted: set[int] = set()
        answers: list[Any] = []

        def answered() -> bool:
            self.node.require_alive()
            wanted.add(self.send(**sent))
            time.sleep(0.3)
            answers.extend(m for m in self.received[name] if stamps([m])[0] in wanted)
            return bool(answers)

        wait_until(answered, f"{name} of the frames sent; the node said:\n{self.node.output}")
        return answers[-1]

    def exchange_all(self) -> dict[str, Any]:
        """Publish pairs until every output of one of them has come; returns those messages."""
        complete: set[int] = set()

        def answered() -> bool:
            self.exchange()
            complete.update(set.intersection(*(set(stamps(messages)) for messages in self.received.values())))
            return bool(complete)

        wait_until(answered, "every output of one frame")
        stamp = max(complete)
        return {name: next(m for m in sent if stamps([m])[0] == stamp) for name, sent in self.received.items()}

    def set_parameter(self, name: str, value: object) -> Any:
        request = SetParametersAtomically.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.peer.call(
            SetParametersAtomically, f"{self.prefix}/segmentation_node/set_parameters_atomically", request
        ).result
