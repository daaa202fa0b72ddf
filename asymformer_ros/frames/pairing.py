"""Pairs colour and depth messages by their stamps."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic

from asymformer_ros.frames.messages import Message, stamp_ns

PutOut = Callable[[Message, Message | None], None]
"""Takes a pair: colour and depth, or None where colour goes out alone."""

SLOP, PAIR_TIMEOUT = 0.02, 1.0
"""Seconds that the stamps of a pair may differ by, and that a message waits for its partner: the node's defaults."""

QUEUE_SIZE = 100
"""Messages of each stream that wait at most, whatever their rate. With message_filters it is the only limit."""

COLOURS_WITHOUT_DEPTH = 3
"""Colour images in a row before depth counts as silent: a callback that was held up finds some of both."""

BACKWARD_JUMP_NS = 500_000_000
"""A stamp this much older than the newest one of its stream means that time jumped back, as when a bag loops."""


class RgbdPairing:
    """Puts out pairs (colour, depth) of one moment.

    It runs in the thread that adds a message. Each message is used once. A stream whose stamps jump back begins anew.
    After `depth_timeout` seconds without depth, by the clock of arrival, colour goes out alone, as (colour, None),
    until depth comes again.
    """

    def __init__(self, put_out: PutOut, depth_timeout: float = inf, clock: Callable[[], float] = monotonic) -> None:
        self._put_out = put_out
        self._newest = [0, 0]
        self._depth_timeout, self._clock = depth_timeout, clock
        self._depth_came, self._colours_since = clock(), 0

    def add(self, message: Message, stream: int) -> None:
        """Take a message of stream 0 (colour) or 1 (depth), stamped at or after 0."""
        stamp = stamp_ns(message.header)
        if stamp < self._newest[stream] - BACKWARD_JUMP_NS:
            self._forget(stream)
            self._newest[stream] = stamp
        self._newest[stream] = max(self._newest[stream], stamp)
        if self._lacks_depth(stream):
            self._pass_alone(message, stamp)
        else:
            self._pair(message, stamp, stream)

    def reset(self) -> None:
        """Forget every message that waits: time has jumped."""
        for stream in (0, 1):
            self._forget(stream)
        self._newest = [0, 0]
        self._depth_came, self._colours_since = self._clock(), 0

    def _lacks_depth(self, stream: int) -> bool:
        """Whether this is a colour image that no depth is to be expected for."""
        if stream == 1:
            self._depth_came, self._colours_since = self._clock(), 0
            return False
        self._colours_since += 1
        silence = self._clock() - self._depth_came
        return self._colours_since >= COLOURS_WITHOUT_DEPTH and silence > self._depth_timeout

    def _pass_alone(self, message: Message, stamp: int) -> None:
        self._forget(0)
        self._put_out(message, None)

    def _pair(self, message: Message, stamp: int, stream: int) -> None:
        raise NotImplementedError

    def _forget(self, stream: int) -> None:
        raise NotImplementedError


class NearestStampPairing(RgbdPairing):
    """Pairs the messages whose stamps are nearest, at most slop apart, as soon as both are there.

    Where the next message of a stream is expected (by the stream's own period) to be nearer than what has arrived, it
    waits for that one: the streams never stay paired one frame apart. A message waits `timeout` seconds for its
    partner, by the clock of its arrival, so depth may come as late as that. Pairs come in the order of their stamps:
    what is older than the newest pair is dropped.
    """

    def __init__(
        self,
        put_out: PutOut,
        slop_ns: int,
        timeout: float,
        depth_timeout: float = inf,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(put_out, depth_timeout, clock)
        self._slop_ns, self._timeout = slop_ns, timeout
        self._streams = (_Stream(), _Stream())

    def _forget(self, stream: int) -> None:
        self._streams[stream].clear()

    def _pair(self, message: Message, stamp: int, stream: int) -> None:
        now = self._clock()
        for waiting in self._streams:
            waiting.expire(now - self._timeout)
        self._streams[stream].add(message, stamp, now)
        while pair := self._ready(stream):
            rgb, depth = (self._streams[side].take(chosen) for side, chosen in enumerate(pair))
            self._put_out(rgb, depth)

    def _pass_alone(self, message: Message, stamp: int) -> None:
        colours = self._streams[0]
        if colours.add(message, stamp, self._clock()):
            self._put_out(colours.take(stamp), None)

    def finish(self) -> None:
        """Put out what still waits for something better: nothing comes any more."""
        while pair := self._ready(0, is_last=True):
            rgb, depth = (self._streams[side].take(chosen) for side, chosen in enumerate(pair))
            self._put_out(rgb, depth)

    def _ready(self, stream: int, *, is_last: bool = False) -> tuple[int, int] | None:
        """The oldest stamps (colour, depth) that make a pair now that `stream` has a new message."""
        own, other = self._streams[stream], self._streams[1 - stream]
        for stamp in own.stamps:
            partner = other.nearest(stamp)
            if partner is None or abs(partner - stamp) > self._slop_ns or own.nearest(partner) != stamp:
                continue
            if is_last or not (other.expects_nearer(stamp, partner) or own.expects_nearer(partner, stamp)):
                return (stamp, partner) if stream == 0 else (partner, stamp)
        return None


class _Stream:
    """The messages of one stream that wait, by stamp."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.stamps: list[int] = []
        self._messages: dict[int, tuple[float, Message]] = {}  # in the order of arrival
        self._last = self._paired = 0
        self._gaps = deque([0, 0], maxlen=2)

    def add(self, message: Message, stamp: int, now: float) -> bool:
        """Take a message; returns whether it may still go out: it is not older than the newest that has."""
        if stamp < self._paired:
            return False
        if self._last and stamp > self._last:
            self._gaps.append(stamp - self._last)
        self._last = max(self._last, stamp)
        if self._messages.pop(stamp, None) is None:
            insort(self.stamps, stamp)
        self._messages[stamp] = (now, message)
        if len(self.stamps) > QUEUE_SIZE:
            self._remove(next(iter(self._messages)))
        return True

    def expire(self, before: float) -> None:
        """Drop what arrived before that time."""
        while self._messages:
            stamp, (arrival, _) = next(iter(self._messages.items()))
            if arrival >= before:
                return
            self._remove(stamp)

    def take(self, stamp: int) -> Message:
        """The message of that stamp; what is older goes with it."""
        message = self._messages[stamp][1]
        for old in self.stamps[: bisect_left(self.stamps, stamp) + 1]:
            self._remove(old)
        self._paired = stamp
        return message

    def nearest(self, stamp: int) -> int | None:
        """The stamp that is nearest, of two the older."""
        at = bisect_left(self.stamps, stamp)
        return min(self.stamps[max(at - 1, 0) : at + 1], key=lambda one: abs(one - stamp), default=None)

    def expects_nearer(self, stamp: int, partner: int) -> bool:
        """Whether a message still to come should be much nearer to `stamp` than `partner` of this stream is.

        The longer of the last two gaps stands for the period, and half the distance for "much": jitter within slop
        must not make a good pair wait.
        """
        period = max(self._gaps)
        if not period:
            return False
        periods = max(1, round((stamp - self._last) / period))
        return 2 * abs(self._last + periods * period - stamp) < abs(partner - stamp)

    def _remove(self, stamp: int) -> None:
        del self._messages[stamp]
        del self.stamps[bisect_left(self.stamps, stamp)]
