"""Pairs colour and depth messages by their stamps, with message_filters where it is installed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

try:
    import message_filters
except ImportError:
    message_filters = None

Message = Any
PairCallback = Callable[[Message, Message], None]

QUEUE_SIZE = 10
BACKWARD_JUMP_NS = 500_000_000
"""A stamp this much older than the newest one of its stream means that time jumped back, as when a bag loops."""


class Pairing(Protocol):
    """A policy of pairing: what message_filters does, or what stands in for it."""

    def add(self, stream: int, message: Message) -> None:
        """Take a message of stream 0 (colour) or 1 (depth)."""

    def clear(self) -> None:
        """Forget every message."""


class RgbdSynchronizer:
    """Hands pairs whose stamps differ by at most `slop` seconds to the registered callback.

    The callback is called in the thread that adds the message and must return at once. Each message is used once.
    Time that jumps back clears everything that waits.
    """

    def __init__(self, slop: float) -> None:
        self._callbacks: list[PairCallback] = []
        slop_ns = round(slop * 1e9)
        self._pairing: Pairing = (
            NearestStampPairing(slop_ns, self._emit)
            if message_filters is None
            else MessageFiltersPairing(slop_ns, self._emit)
        )
        self._newest = [0, 0]

    @property
    def policy(self) -> str:
        """Name of the pairing in use, for the log."""
        return type(self._pairing).__name__

    def registerCallback(self, callback: PairCallback) -> None:  # noqa: N802 - the name that message_filters has
        """Call `callback(rgb, depth)` for each pair."""
        self._callbacks.append(callback)

    def add_rgb(self, message: Message) -> None:
        """Take a colour message."""
        self._add(0, message)

    def add_depth(self, message: Message) -> None:
        """Take a depth message."""
        self._add(1, message)

    def reset(self) -> None:
        """Forget every message that waits: time has jumped."""
        self._pairing.clear()
        self._newest = [0, 0]

    def _add(self, stream: int, message: Message) -> None:
        stamp = stamp_ns(message)
        if stamp < self._newest[stream] - BACKWARD_JUMP_NS:
            self.reset()
        self._newest[stream] = max(self._newest[stream], stamp)
        self._pairing.add(stream, message)

    def _emit(self, rgb: Message, depth: Message) -> None:
        for callback in self._callbacks:
            callback(rgb, depth)


class MessageFiltersPairing:
    """message_filters.ApproximateTimeSynchronizer, fed by hand and made anew when time jumps."""

    def __init__(self, slop_ns: int, emit: PairCallback) -> None:
        self._slop_ns, self._emit = slop_ns, emit
        self.clear()

    def clear(self) -> None:
        """See Pairing."""
        self._inputs = (message_filters.SimpleFilter(), message_filters.SimpleFilter())
        slop = (self._slop_ns + 1) * 1e-9  # it pairs offsets strictly below its slop
        synchronizer = message_filters.ApproximateTimeSynchronizer(
            fs=list(self._inputs), queue_size=QUEUE_SIZE, slop=slop
        )
        synchronizer.registerCallback(self._emit)

    def add(self, stream: int, message: Message) -> None:
        """See Pairing."""
        self._inputs[stream].signalMessage(message)


class NearestStampPairing:
    """Pairs a message with the nearest stamp of the other stream, as soon as both are there.

    Where a stream's next message is expected (by the stream's own period) to be nearer than what has arrived, it
    waits for that one: the streams never stay paired one frame apart. What is older than a pair is dropped.
    """

    def __init__(self, slop_ns: int, emit: PairCallback) -> None:
        self._slop_ns, self._emit = slop_ns, emit
        self.clear()

    def clear(self) -> None:
        """See Pairing."""
        self._waiting: tuple[dict[int, Message], dict[int, Message]] = ({}, {})
        self._last = [0, 0]
        self._gaps: tuple[deque[int], deque[int]] = (deque([0, 0], maxlen=2), deque([0, 0], maxlen=2))

    def add(self, stream: int, message: Message) -> None:
        """See Pairing."""
        stamp = stamp_ns(message)
        if stamp > self._last[stream]:
            self._gaps[stream].append(stamp - self._last[stream])
            self._last[stream] = stamp
        own, other = self._waiting[stream], self._waiting[1 - stream]
        own[stamp] = message
        if len(own) > QUEUE_SIZE:
            del own[min(own)]
        partner = min(other, key=lambda candidate: abs(candidate - stamp), default=None)
        if partner is None or abs(partner - stamp) > self._slop_ns:
            return
        if self._nearer_is_expected(1 - stream, stamp, partner) or self._nearer_is_expected(stream, partner, stamp):
            return
        stamps = (stamp, partner) if stream == 0 else (partner, stamp)
        pair = [waiting[chosen] for waiting, chosen in zip(self._waiting, stamps, strict=True)]
        for waiting, chosen in zip(self._waiting, stamps, strict=True):
            for old in [candidate for candidate in waiting if candidate <= chosen]:
                del waiting[old]
        self._emit(*pair)

    def _nearer_is_expected(self, stream: int, stamp: int, partner: int) -> bool:
        """Whether the next message of `stream` should be much nearer to `stamp` than `partner` of that stream is.

        The longer of the last two gaps stands for the period, and half the distance for "much": jitter within slop
        must not make a good pair wait.
        """
        expected = self._last[stream] + max(self._gaps[stream])
        return 2 * abs(expected - stamp) < abs(partner - stamp)


def stamp_ns(message: Message) -> int:
    """The header's stamp in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
