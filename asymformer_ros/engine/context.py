"""What goes with a build from its first step to the last: how far it is, and whether anybody still wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from asymformer_ros.errors import BackendError


class BuildEndedError(BackendError):
    """Nobody wants the build any more, or it has taken too long: nothing else is tried."""


@dataclass(frozen=True)
class BuildProgress:
    """Where a build stands: step `done` of `total` of the innermost phase, `seconds` after its start."""

    phase: str
    done: int = 0
    total: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.phase} {self.done}/{self.total}, {self.seconds:.0f} s" if self.total else self.phase


class BuildContext:
    """Progress and cancelling of one build. Any thread may ask it anything and cancel it."""

    def __init__(self, on_progress: Callable[[BuildProgress], None] | None = None, timeout: float = 3600.0) -> None:
        """on_progress: hears at least once a second, on the build's thread. timeout: seconds for the builder alone."""
        self.timeout = timeout
        self.progress = ""
        self._on_progress = on_progress
        self._cancelled = threading.Event()

    def report(self, progress: BuildProgress | str) -> None:
        """Say how far the build is."""
        self.progress = f"building: {progress}" if isinstance(progress, BuildProgress) else progress
        if self._on_progress is not None and isinstance(progress, BuildProgress):
            self._on_progress(progress)

    def cancel(self) -> None:
        """Nobody wants the build any more: it ends within half a second, wherever it is."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise BuildEndedError where the build was cancelled."""
        if self.cancelled:
            raise BuildEndedError("the engine build was cancelled")

    def wait(self, seconds: float) -> bool:
        """Sleep; returns whether it was cancelled meanwhile."""
        return self._cancelled.wait(seconds)
