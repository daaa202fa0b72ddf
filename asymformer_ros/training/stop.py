"""What ends a training before its last epoch."""

from __future__ import annotations

import signal
import time
from contextlib import AbstractContextManager
from types import FrameType

from asymformer_ros.signals import handling


class Stop:
    """Whether a run is to end early, by a signal or because its time is over; `reason` says which."""

    def __init__(self, minutes: float | None) -> None:
        self._end = time.monotonic() + 60 * minutes if minutes is not None else None
        self.reason = ""

    def __call__(self) -> bool:
        if not self.reason and self._end is not None and time.monotonic() >= self._end:
            self.reason = "the time is over"
        return bool(self.reason)

    def interrupt(self, number: int, _: FrameType | None) -> None:
        """Signal handler. Raises KeyboardInterrupt at the second signal, to end at once."""
        if self.reason:
            raise KeyboardInterrupt
        self.reason = f"{signal.Signals(number).name} came"

    def on_signals(self) -> AbstractContextManager[None]:
        """SIGINT and SIGTERM meanwhile call `interrupt`."""
        return handling(self.interrupt, signal.SIGINT, signal.SIGTERM)
