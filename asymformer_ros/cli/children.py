"""Processes that a command starts and ends: nothing outlives the command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from asymformer_ros.errors import AsymformerError
from asymformer_ros.system.signals import end_with_parent

_PATIENCE = {signal.SIGINT: 10.0, signal.SIGTERM: 5.0, signal.SIGKILL: 5.0}  # seconds to end after each
_LOG_PREFIX = re.compile(r"^\[(?:ERROR|FATAL)\] \[[\d.]+\] \[[^\]]*\]: ")


class Child:
    """One ROS node of this package as a process with a log file, out of reach of the terminal's Ctrl-C.

    It ends with the thread that started it, also where that is killed.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = module.rpartition(".")[2]
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--ros-args", *arguments],
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, os.getpid()),
            )

    def require_alive(self) -> None:
        """Raise AsymformerError with the process's own reason where it has ended."""
        code = self._process.poll()
        if code is not None:
            raise AsymformerError(f"{self.name} ended with code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The last error that it logged, or else its last line."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if _LOG_PREFIX.match(line)]
        return _LOG_PREFIX.sub("", (errors or lines or ["it said nothing"])[-1])

    def ends_within(self, seconds: float) -> bool:
        """Wait for it to end by itself; returns whether it did."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """Ask with SIGINT, then SIGTERM, then kill."""
        for number, patience in _PATIENCE.items():
            if self._process.poll() is not None:
                return
            self._process.send_signal(number)
            if self.ends_within(patience):
                return
