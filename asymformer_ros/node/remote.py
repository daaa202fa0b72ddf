"""The segmentation node of another process, answering like a Segmenter: over topics, one frame at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from asymformer_ros.errors import BackendError
from asymformer_ros.frames.depth import depth_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.segmentation import Segmentation, StageTimes
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.conversions import image_message

_ANSWERS = {"labels": Image, "confidence": Image, "summary": SegmentationSummary}
_PATIENCE = 300.0  # seconds for one frame, the first of which waits for the model
_SEND_AGAIN = 5.0  # seconds: camera topics may lose a message
_LOOK = 0.5  # seconds between two looks at the node's process


class RemoteSegmenter:
    """Publishes frames as a camera does, colour as rgb8 and depth as 16UC1, and waits for what the node answers.

    namespace: of both nodes. label_set: of the node's model. require_alive: is called while it waits, and raises where
    the node has ended. name: what serves in the node, once a frame was answered. Closed at the end of a `with`; the
    environment must name the ROS domain before.
    """

    def __init__(self, namespace: str, label_set: LabelSet, require_alive: Callable[[], object]) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.name = "node"
        self._label_set, self._require_alive = label_set, require_alive
        self._node = rclpy.create_node("evaluation", namespace=namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._rgb, self._depth = (self._node.create_publisher(Image, f"{name}/image", 1) for name in ("rgb", "depth"))
        for name, kind in _ANSWERS.items():
            on_answer = partial(self._on_answer, name)
            self._node.create_subscription(kind, f"segmentation/{name}", on_answer, qos_profile_sensor_data)
        self._answers: dict[str, Any] = {}
        self._sent = Header()

    def __enter__(self) -> RemoteSegmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def segment(self, frame: RgbdFrame, *, with_confidence: bool = False) -> Segmentation:
        """See Segmenter. Raises BackendError where no answer comes, and what require_alive raises."""
        end = time.monotonic() + _PATIENCE
        while not self._connected() or not self._exchange(frame):
            self._require_alive()
            if time.monotonic() > end:
                raise BackendError(f"the segmentation node answered nothing to a frame within {_PATIENCE:.0f} s")
        labels, confidence = (_pixels(self._answers[name]) for name in ("labels", "confidence"))
        summary = self._answers["summary"]
        self.name = f"node, {summary.backend}"
        times = StageTimes(summary.preprocess_ms, summary.inference_ms, summary.postprocess_ms)
        return Segmentation(labels, confidence if with_confidence else None, frame, self._label_set, times)

    def _connected(self) -> bool:
        """Whether the node listens and is heard; looks for half a second."""
        end = time.monotonic() + _LOOK
        while time.monotonic() < end:
            listens = all(topic.get_subscription_count() for topic in (self._rgb, self._depth))
            if listens and all(self._node.count_publishers(f"segmentation/{name}") for name in _ANSWERS):
                return True
            self._executor.spin_once(timeout_sec=0.05)
        return False

    def _exchange(self, frame: RgbdFrame) -> bool:
        """Send a frame and wait for its answers; False where some have not come after a while."""
        self._answers = {}
        self._sent = Header(stamp=self._node.get_clock().now().to_msg(), frame_id="camera")
        self._rgb.publish(image_message(frame.rgb, "rgb8", self._sent))
        self._depth.publish(image_message(depth_millimetres(frame.depth), "16UC1", self._sent))
        look, end = time.monotonic() + _LOOK, time.monotonic() + _SEND_AGAIN
        while self._answers.keys() != _ANSWERS.keys() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > look:
                self._require_alive()
                look += _LOOK
        return self._answers.keys() == _ANSWERS.keys()

    def _on_answer(self, name: str, message: Any) -> None:
        if message.header.stamp == self._sent.stamp:
            self._answers[name] = message


def _pixels(message: Image) -> NDArray[np.uint8]:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
