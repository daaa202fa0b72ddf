"""The node's input topics: colour, depth and calibration, paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.messages import stamp_ns
from asymformer_ros.node.filters import Message, Subscriber
from asymformer_ros.node.health import Health
from asymformer_ros.node.parameters import Settings, qos_overrides
from asymformer_ros.node.synchronizer import make_synchronizer
from asymformer_ros.node.watch import Watch

_STREAMS = ("colour", "depth")


@dataclass(frozen=True)
class Pair:
    """A colour and a depth message of one moment, and the colour camera's newest calibration.

    depth: None where none comes and colour is segmented alone.
    """

    rgb: Message
    depth: Message | None
    camera_info: CameraInfo | None


class Inputs:
    """Subscriptions that feed pairs of messages to a callback; it must return at once.

    Nothing that a message holds makes a callback raise: what cannot be used is counted.
    """

    def __init__(
        self, node: Node, prefix: str, settings: Settings, health: Health, on_pair: Callable[[Pair], None]
    ) -> None:
        self._node, self._prefix, self._health, self._on_pair = node, prefix, health, on_pair
        self._camera_info: CameraInfo | None = None
        depth_timeout = settings.depth_timeout if settings.allow_rgb_only else inf
        self._synchronizer = make_synchronizer(
            settings.synchronizer, settings.slop, settings.pair_timeout, depth_timeout
        )
        self._synchronizer.registerCallback(self._on_match)
        self._transports = (settings.image_transport, settings.depth_image_transport)
        self._subscribers: list[Subscriber] = []
        self.resume()
        self.watch = Watch(node, [subscriber.sub for subscriber in self._subscribers])

    @property
    def description(self) -> str:
        """Topics and pairing, for the log."""
        colour, depth, info = self.watch.topics
        return f"{colour} and {depth} (camera info {info}), paired by {type(self._synchronizer).__name__}"

    def resume(self) -> None:
        """Subscribe, where it does not."""
        if self._subscribers:
            return
        self._synchronizer.reset()  # how long depth was silent counts from now on
        colour, depth = self._transports
        self._subscribers = [
            self._subscribe("rgb/image", colour),
            self._subscribe("depth/image", depth),
            self._subscribe("rgb/camera_info", "raw", CameraInfo),
        ]
        for stream in (0, 1):
            self._subscribers[stream].registerCallback(partial(self._on_image, stream))
        self._subscribers[2].registerCallback(self._on_camera_info)

    def pause(self) -> None:
        """Leave the camera's topics and forget what came."""
        self.destroy()
        self.reset()

    @property
    def paused(self) -> bool:
        """Whether nothing is subscribed to."""
        return not self._subscribers

    def reset(self) -> None:
        """Forget every message that waits for its partner: time has jumped."""
        self._synchronizer.reset()
        self.watch.restart()

    def destroy(self) -> None:
        """Unsubscribe."""
        subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            self._node.destroy_subscription(subscriber.sub)

    def _subscribe(self, topic: str, transport: str, message_type: type | None = None) -> Subscriber:
        topic = self._prefix + topic
        if transport != "raw":  # the transport's topic follows a remapped base, as with image_transport
            topic = f"{self._node.resolve_topic_name(topic).removesuffix('/' + transport)}/{transport}"
        with qos_overrides(topic) as options:
            return Subscriber(
                self._node,
                message_type or (Image if transport == "raw" else CompressedImage),
                topic,
                qos_profile=QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
                qos_overriding_options=options,
            )

    def _on_image(self, stream: int, message: Message) -> None:
        getattr(self._health, _STREAMS[stream]).tick()
        try:
            stamp = stamp_ns(message.header)
            self.watch.saw(stream, message, stamp)
            if stamp < 0:
                raise FrameError(
                    f"{_STREAMS[stream]} image has a stamp below zero ({stamp * 1e-9:.3f} s): mend the driver's clock"
                )
            if stream == 1:
                self._health.depth_came()
            self._synchronizer.add(message, stream)
        except Exception as error:  # one message must not end the node
            self._health.raised(error)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message
        self.watch.saw(2, message, stamp_ns(message.header))

    def _on_match(self, rgb: Message, depth: Message | None) -> None:
        if depth is None:
            self._health.depth_lacks()
        else:
            self._health.paired(stamp_ns(depth.header) - stamp_ns(rgb.header))
            self.watch.paired()
        self._on_pair(Pair(rgb, depth, self._camera_info))
