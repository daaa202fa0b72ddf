"""Pairs colour and depth messages by their stamps: our own policy, or message_filters' ApproximateTimeSynchronizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from time import monotonic

from asymformer_ros.frames.pairing import QUEUE_SIZE, NearestStampPairing, PutOut, RgbdPairing
from asymformer_ros.node.filters import ApproximateTimeSynchronizer, Message, SimpleFilter
from asymformer_ros.optional import require

SYNCHRONIZERS = ("nearest_stamp", "message_filters")
"""What can be asked for."""


def make_synchronizer(name: str, slop: float, timeout: float, depth_timeout: float = inf) -> RgbdSynchronizer:
    """The synchroniser of that name. Raises DependencyError where message_filters is asked for and not there.

    depth_timeout: seconds without depth after which colour goes out alone.
    """
    if name == "message_filters":
        require("parameter synchronizer, which is 'message_filters' in place of 'nearest_stamp',", "message_filters")
    slop_ns = round(slop * 1e9)
    if name == "nearest_stamp":
        return NearestStampSynchronizer(slop_ns, timeout, depth_timeout)
    return MessageFiltersSynchronizer(slop_ns, depth_timeout)


class RgbdSynchronizer(SimpleFilter):
    """Puts out pairs as a RgbdPairing does; `registerCallback` and `connectInput` as message_filters has them."""

    def __init__(self, pairing: Callable[[PutOut], RgbdPairing]) -> None:
        super().__init__()
        self._pairing = pairing(self.signalMessage)

    def connectInput(self, filters: Sequence[SimpleFilter]) -> None:  # noqa: N802 - its name in message_filters
        """Take colour from the first filter and depth from the second."""
        for stream, source in enumerate(filters):
            source.registerCallback(self.add, stream)

    def add(self, message: Message, stream: int) -> None:
        """Take a message of stream 0 (colour) or 1 (depth), stamped at or after 0."""
        self._pairing.add(message, stream)

    def reset(self) -> None:
        """Forget every message that waits: time has jumped."""
        self._pairing.reset()


class NearestStampSynchronizer(RgbdSynchronizer):
    """Our own policy, NearestStampPairing."""

    def __init__(
        self, slop_ns: int, timeout: float, depth_timeout: float = inf, clock: Callable[[], float] = monotonic
    ) -> None:
        super().__init__(lambda put_out: NearestStampPairing(put_out, slop_ns, timeout, depth_timeout, clock))


class MessageFiltersSynchronizer(RgbdSynchronizer):
    """message_filters.ApproximateTimeSynchronizer's, which forgets when time jumps."""

    def __init__(self, slop_ns: int, depth_timeout: float = inf) -> None:
        super().__init__(lambda put_out: _MessageFiltersPairing(put_out, slop_ns, depth_timeout))


class _MessageFiltersPairing(RgbdPairing):
    """Its callback only keeps the pair, for it holds a lock meanwhile, and for ever where the callback raises."""

    def __init__(self, put_out: PutOut, slop_ns: int, depth_timeout: float) -> None:
        super().__init__(put_out, depth_timeout)
        self._inputs = (SimpleFilter(), SimpleFilter())
        self._pairs: list[tuple[Message, Message]] = []
        slop = (slop_ns + 1) * 1e-9  # it pairs offsets strictly below its slop
        self._synchronizer = ApproximateTimeSynchronizer(fs=list(self._inputs), queue_size=QUEUE_SIZE, slop=slop)
        self._synchronizer.registerCallback(lambda rgb, depth: self._pairs.append((rgb, depth)))

    def _pair(self, message: Message, stamp: int, stream: int) -> None:
        self._inputs[stream].signalMessage(message)
        while self._pairs:
            self._put_out(*self._pairs.pop(0))

    def _forget(self, stream: int) -> None:
        self._synchronizer.queues[stream].clear()
