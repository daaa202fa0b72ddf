"""Signal handlers for a while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Have these signals call `handler` meanwhile. They come to the main thread alone: in another, nothing changes.

    SIGHUP stays ignored where it was, as under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    before = {number: signal.signal(number, handler) for number in numbers if number != signal.SIGHUP or not ignored}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def stop_event(*numbers: signal.Signals) -> Iterator[threading.Event]:
    """An event that these signals set meanwhile; SIGINT, SIGTERM and SIGHUP where none are given."""
    stop = threading.Event()
    with handling(lambda *_: stop.set(), *(numbers or (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))):
        yield stop
