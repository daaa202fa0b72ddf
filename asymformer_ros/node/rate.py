"""How often something happens, and for how long it may stay away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

LONGEST_SILENCE = 2.0
"""Seconds after which a stream has stopped, whatever its rate; a slower one is given three of its periods."""

_SHORTEST_SILENCE = 0.3


def silence_limit(times: Sequence[float]) -> float:
    """Seconds of silence after which something that happened at these times has stopped: three of its periods, 2 s at
    most."""
    newest = list(times)[-10:]
    if len(newest) < 2:
        return LONGEST_SILENCE
    period = (newest[-1] - newest[0]) / (len(newest) - 1)
    return 3 * period if period > LONGEST_SILENCE else min(max(3 * period, _SHORTEST_SILENCE), LONGEST_SILENCE)


class Rate:
    """Events per second over the last few seconds, up to now. Any thread may count, another may read."""

    def __init__(self, clock: Callable[[], float] = monotonic, span: float = 10.0) -> None:
        self._clock, self._span = clock, span
        self.total = 0
        """Events ever."""
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._times: deque[float] = deque(maxlen=1000)
        self._start = self._clock()

    def tick(self) -> None:
        """Count one event now."""
        self._times.append(self._clock())
        self.total += 1

    def per_second(self) -> float:
        """Mean rate of the last `span` seconds, Hz; it falls when events stay away."""
        now, recent = self._clock(), self._recent()
        return (len(recent) - 1) / (now - recent[0]) if len(recent) > 1 and now > recent[0] else 0.0

    def recent(self) -> int:
        """Events of the last `span` seconds."""
        return len(self._recent())

    def silence(self) -> float:
        """Seconds since the last event, or since the start."""
        times = self._times.copy()
        return self._clock() - (times[-1] if times else self._start)

    def _recent(self) -> list[float]:
        start = self._clock() - self._span
        return [time for time in self._times.copy() if time > start]


class Spell:
    """For how long something has been so without a break. Used by one thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._start: float | None = None

    def seconds(self, so: bool) -> float:
        """Since it is so; 0 where it is not. so: whether it is, now."""
        if not so:
            self._start = None
            return 0.0
        if self._start is None:
            self._start = self._clock()
        return self._clock() - self._start
