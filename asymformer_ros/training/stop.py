"""What ends a training before its last epoch."""

from __future__ import annotations

import signal
import time
from contextlib import AbstractContextManager
from types import FrameType

from asymformer_ros.system.signals import exit_code, handling
from asymformer_ros.training.processes import Processes

TIME_OVER = 124
"""Exit code where the time is over, as of GNU timeout."""


class Stop:
    """Whether a run is to end early, by a signal or because its time is over.

    exit_code: 0 unless it is, TIME_OVER, or 128 and the signal's number, as shells have it: so `train && evaluate` does
    not go on with half a model.
    """

    def __init__(self, minutes: float | None) -> None:
        self._end = time.monotonic() + 60 * minutes if minutes is not None else None
        self._signalled = False
        self.exit_code = 0

    def __call__(self) -> bool:
        if not self.exit_code and self._end is not None and time.monotonic() >= self._end:
            self.exit_code = TIME_OVER
        return bool(self.exit_code)

    def anywhere(self, processes: Processes) -> bool:
        """Whether one of the processes is to end: then all are. All of them ask at the same place.

        What comes to one of them while they ask is for the next time.
        """
        self()
        agreed = processes.largest(self.exit_code)
        if agreed:
            self.exit_code = agreed
        return bool(agreed)

    @property
    def reason(self) -> str:
        if self.exit_code == TIME_OVER:
            return "the time is over"
        return f"{signal.Signals(self.exit_code - exit_code(0)).name} came"

    def interrupt(self, number: int, _: FrameType | None) -> None:
        """Signal handler. Raises KeyboardInterrupt at the second signal, to end at once."""
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        self.exit_code = self.exit_code or exit_code(number)

    def on_signals(self) -> AbstractContextManager[None]:
        """SIGINT, SIGTERM and SIGHUP meanwhile call `interrupt`."""
        return handling(self.interrupt)
