"""Watches a camera's subscriptions for the sync doctor: a note per message, and the ROS graph when it is asked."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.subscription import Subscription

from asymformer_ros.node.conversions import frame_from_messages
from asymformer_ros.node.filters import Message
from asymformer_ros.node.observation import Content, Observation, Publisher, Stream
from asymformer_ros.node.parameters import Settings

_KEPT = 200  # messages of each stream: 3 s at 60 Hz
_CONTENT_LASTS = 2.0  # seconds between two looks into images that nobody else converts
_TOPICS_LAST = 2.0  # seconds between two looks at all topics


@dataclass
class _Seen:
    """One subscription and what came through it."""

    name: str
    parameter: str
    topic: str
    type: str
    reliability: str
    durability: str
    times: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    first: float = 0.0
    newest: Message | None = None


class Watch:
    """Notes what arrives: O(1) per message. All of it runs in the thread of the node's callbacks.

    subscriptions: of colour, depth and camera info.
    """

    def __init__(self, node: Node, subscriptions: list[Subscription]) -> None:
        self._node = node
        names = (("colour", "image_transport"), ("depth", "depth_image_transport"), ("camera info", ""))
        self._seen = [_Seen(*name, *_offer(sub)) for name, sub in zip(names, subscriptions, strict=True)]
        self.restart()

    def restart(self) -> None:
        """Forget what came: time has jumped."""
        self._started = monotonic()
        self._pairs: deque[float] = deque(maxlen=_KEPT)
        self._content: tuple[float, Content | None] = (0.0, None)
        self._topics: tuple[float, dict[str, tuple[str, ...]], bool] = (0.0, {}, False)
        for seen in self._seen:
            seen.times.clear()
            seen.first, seen.newest = 0.0, None

    def saw(self, stream: int, message: Message, stamp: int) -> None:
        """Note a message of stream 0 (colour), 1 (depth) or 2 (camera info)."""
        seen, now = self._seen[stream], monotonic()
        seen.times.append((now, stamp))
        seen.first = seen.first or now
        seen.newest = message

    def paired(self) -> None:
        """Note that a pair has formed."""
        self._pairs.append(monotonic())

    @property
    def complete(self) -> bool:
        """Whether colour and depth have come."""
        return all(seen.newest is not None for seen in self._seen[:2])

    @property
    def topics(self) -> list[str]:
        """Of colour, depth and camera info."""
        return [seen.topic for seen in self._seen]

    def observe(
        self, depth: NDArray[np.float32] | None, settings: Settings, *, listened: bool, paused: bool = False
    ) -> Observation:
        """All that was seen up to now.

        depth: (H, W) float32 metres, the newest that was converted; None where nobody converts: then the newest images
        are tried here, every 2 s. listened: whether anyone subscribes to an output. paused: whether the node has left
        the camera's topics.
        """
        now = monotonic()
        colour, depth_stream, info = (self._stream(seen) for seen in self._seen)
        silent = not (colour.publishers and depth_stream.publishers)
        topics, alone = self._graph(now) if silent else ({}, False)
        return Observation(
            now=now,
            started=self._started,
            clock_ns=self._node.get_clock().now().nanoseconds,
            colour=colour,
            depth=depth_stream,
            camera_info=info,
            pairs=tuple(self._pairs),
            slop=settings.slop,
            patience=settings.pair_timeout if settings.synchronizer == "nearest_stamp" else math.inf,
            max_age=settings.max_age,
            sim_time=bool(self._node.get_parameter("use_sim_time").value),
            clock_publishers=self._node.count_publishers("/clock"),
            topics=topics,
            alone=alone,
            listened=listened,
            paused=paused,
            content=self._tried(now, settings.max_pixels) if depth is None else Content.of_depth(depth),
        )

    def _stream(self, seen: _Seen) -> Stream:
        arrivals, stamps = zip(*seen.times, strict=True) if seen.times else ((), ())
        width, height = getattr(seen.newest, "width", 0), getattr(seen.newest, "height", 0)
        return Stream(
            name=seen.name,
            topic=seen.topic,
            type=seen.type,
            parameter=seen.parameter,
            reliability=seen.reliability,
            durability=seen.durability,
            publishers=publishers(self._node, seen.topic),
            arrivals=arrivals,
            stamps=stamps,
            first=seen.first,
            size=(width, height) if width else None,
            encoding=(getattr(seen.newest, "encoding", "") or getattr(seen.newest, "format", ""))[:100],
            frame_id=seen.newest.header.frame_id[:100] if seen.newest else "",
            bytes=len(getattr(seen.newest, "data", ())),
        )

    def _tried(self, now: float, max_pixels: int) -> Content | None:
        """What comes of converting the newest images."""
        rgb, depth = (seen.newest for seen in self._seen[:2])
        if rgb is None or depth is None or now - self._content[0] < _CONTENT_LASTS:
            return self._content[1]
        try:
            content = Content.of_depth(frame_from_messages(rgb, depth, max_pixels).depth)
        except Exception as error:  # whatever it is, the images cannot be used
            content = Content(error=str(error)[:1000])
        self._content = (now, content)
        return content

    def _graph(self, now: float) -> tuple[dict[str, tuple[str, ...]], bool]:
        """The image topics that others publish, and whether there is no other node."""
        if now - self._topics[0] >= _TOPICS_LAST:
            own = self._node.get_fully_qualified_name()
            names = [name for name in self._node.get_node_names() if not name.startswith("_")]
            wanted = [
                (topic, tuple(types))
                for topic, types in self._node.get_topic_names_and_types()
                if any(kind in ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage") for kind in types)
            ]
            published = {
                topic: types
                for topic, types in wanted
                if any(publisher.node != own for publisher in publishers(self._node, topic))
            }
            self._topics = (now, published, len(names) <= 1)
        return self._topics[1], self._topics[2]


def _offer(subscription: Subscription) -> tuple[str, str, str, str]:
    """Topic, type, reliability and durability: they outlast the subscription."""
    qos = subscription.qos_profile
    return subscription.topic_name, type_name(subscription.msg_type), qos.reliability.name, qos.durability.name


def publishers(node: Node, topic: str) -> tuple[Publisher, ...]:
    """Who publishes a topic."""
    return tuple(
        Publisher(
            node=f"{info.node_namespace.rstrip('/')}/{info.node_name}",
            type=info.topic_type,
            reliability=info.qos_profile.reliability.name,
            durability=info.qos_profile.durability.name,
        )
        for info in node.get_publishers_info_by_topic(topic)
    )


def type_name(message_type: type) -> str:
    """A message type's ROS name, such as sensor_msgs/msg/Image."""
    package, _, _ = message_type.__module__.partition(".")
    return f"{package}/msg/{message_type.__name__}"
