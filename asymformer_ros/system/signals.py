"""How a process ends: at a signal, or with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end: Ctrl-C, whoever manages it, a terminal that is closed."""

_PR_SET_PDEATHSIG = 1


def exit_code(number: int) -> int:
    """Of a process that ended because of this signal, as shells have it."""
    return 128 + number


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Have these signals, ENDING where none are given, call `handler` meanwhile.

    They come to the main thread alone: in another, nothing changes. SIGHUP stays ignored where it was, as under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    wanted = [number for number in numbers or ENDING if number != signal.SIGHUP or not ignored]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def stop_event(*numbers: signal.Signals) -> Iterator[threading.Event]:
    """An event that these signals, ENDING where none are given, set meanwhile."""
    stop = threading.Event()
    with handling(lambda *_: stop.set(), *numbers):
        yield stop


def leave_signals_to_parent() -> None:
    """Ignore ENDING from now on: it may be sent to the whole process group, and is for a worker's parent to answer."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def end_with_parent(parent: int) -> None:
    """Have this process, from now on, get SIGTERM when the thread that started it ends, also where that is killed.

    parent: id of the process that it was started by, which may have ended before; then it ends at once.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(exit_code(signal.SIGTERM))
