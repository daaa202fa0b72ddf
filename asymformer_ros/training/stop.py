"""What ends a training before its last epoch."""

from __future__ import annotations

import signal
import time
from contextlib import AbstractContextManager
from types import FrameType

from asymformer_ros.system.signals import exit_code, handling

TIME_OVER = 124
"""Exit code where the time is over, as of GNU timeout."""


class Stop:
    """Whether a run is to end early, by a signal or because its time is over; `reason` says which.

    exit_code: 0 unless it is, TIME_OVER, or 128 and the signal's number, as shells have it: so `train && evaluate` does
    not go on with half a model.
    """

    def __init__(self, minutes: float | None) -> None:
        self._end = time.monotonic() + 60 * minutes if minutes is not None else None
        self.reason = ""
        self.exit_code = 0

    def __call__(self) -> bool:
        if not self.reason and self._end is not None and time.monotonic() >= self._end:
            self.reason, self.exit_code = "the time is over", TIME_OVER
        return bool(self.reason)

    def interrupt(self, number: int, _: FrameType | None) -> None:
        """Signal handler. Raises KeyboardInterrupt at the second signal, to end at once."""
        if self.reason:
            raise KeyboardInterrupt
        self.reason, self.exit_code = f"{signal.Signals(number).name} came", exit_code(number)

    def on_signals(self) -> AbstractContextManager[None]:
        """SIGINT, SIGTERM and SIGHUP meanwhile call `interrupt`."""
        return handling(self.interrupt)
