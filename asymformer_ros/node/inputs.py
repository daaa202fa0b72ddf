"""The node's input topics: colour, depth and calibration, paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from asymformer_ros.node.health import Health
from asymformer_ros.node.parameters import Settings
from asymformer_ros.node.synchronizer import Message, RgbdSynchronizer


@dataclass(frozen=True)
class Pair:
    """A colour and a depth message of one moment, and the colour camera's newest calibration."""

    rgb: Message
    depth: Message
    camera_info: CameraInfo | None


class Inputs:
    """Subscriptions that feed pairs of messages to a callback; it must return at once."""

    def __init__(
        self, node: Node, prefix: str, settings: Settings, health: Health, on_pair: Callable[[Pair], None]
    ) -> None:
        self._node, self._prefix, self._health, self._on_pair = node, prefix, health, on_pair
        self._camera_info: CameraInfo | None = None
        self._synchronizer = RgbdSynchronizer(settings.slop)
        self._synchronizer.registerCallback(self._on_match)
        self._subscriptions = [
            self._subscribe(_type(settings.image_transport), "rgb/image", settings.image_transport, self._on_rgb),
            self._subscribe(
                _type(settings.depth_image_transport), "depth/image", settings.depth_image_transport, self._on_depth
            ),
            self._subscribe(CameraInfo, "rgb/camera_info", "raw", self._on_camera_info),
        ]

    @property
    def description(self) -> str:
        """Topics and pairing, for the log."""
        topics = [subscription.topic_name for subscription in self._subscriptions]
        return f"{topics[0]} and {topics[1]} (camera info {topics[2]}), paired by {self._synchronizer.policy}"

    def reset(self) -> None:
        """Forget every message that waits for its partner: time has jumped."""
        self._synchronizer.reset()

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _subscribe(
        self, message_type: type, topic: str, transport: str, callback: Callable[[Message], None]
    ) -> Subscription:
        topic = self._prefix + topic
        if transport != "raw":  # the transport's topic follows a remapped base, as with image_transport
            topic = f"{self._node.resolve_topic_name(topic)}/{transport}"
        return self._node.create_subscription(
            message_type,
            topic,
            callback,
            qos_profile_sensor_data,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _on_rgb(self, message: Message) -> None:
        self._health.colour.tick()
        self._synchronizer.add_rgb(message)

    def _on_depth(self, message: Message) -> None:
        self._health.depth.tick()
        self._synchronizer.add_depth(message)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_match(self, rgb: Message, depth: Message) -> None:
        self._health.pairs.tick()
        self._on_pair(Pair(rgb, depth, self._camera_info))


def _type(transport: str) -> type:
    return Image if transport == "raw" else CompressedImage
