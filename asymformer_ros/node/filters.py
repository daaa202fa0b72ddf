"""message_filters' face: its own classes where it is installed, else the same few methods (pip, the ROS wheels)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.node import Node

from asymformer_ros.optional import installed

Message = Any


class SimpleFilter:
    """Hands what it is given to the callbacks that are registered."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

    def registerCallback(self, callback: Callable[..., None], *args: Any) -> int:  # noqa: N802 - its name there
        """Call `callback(*messages, *args)` for each output."""
        self.callbacks[len(self.callbacks)] = (callback, args)
        return len(self.callbacks) - 1

    def signalMessage(self, *messages: Message) -> None:  # noqa: N802 - its name there
        """Put out messages."""
        for callback, args in list(self.callbacks.values()):
            callback(*messages, *args)


class Subscriber(SimpleFilter):
    """A subscription whose messages are put out. Takes what `Node.create_subscription` takes, but for the callback."""

    def __init__(self, node: Node, message_type: type, topic: str, **options: Any) -> None:
        super().__init__()
        self.sub = node.create_subscription(message_type, topic, self.signalMessage, **options)


ApproximateTimeSynchronizer: Any = None
"""None where message_filters is not installed."""

if not TYPE_CHECKING and installed("message_filters"):
    from message_filters import ApproximateTimeSynchronizer, SimpleFilter, Subscriber  # noqa: F401 - for the others
