"""Runs one step of a build in a child process: progress, cancelling, a time limit, and crashes that stay outside."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any

from asymformer_ros.engine.context import BuildContext, BuildEndedError, BuildProgress
from asymformer_ros.engine.disk import StorageError, writing_temporarily
from asymformer_ros.errors import BackendError

_CHILD = "asymformer_ros.engine.build_child"
_TICK = 0.25  # seconds between two looks at cancelling and time
_HEARTBEAT = 1.0  # seconds after which progress is told again, though nothing new is known
_LOG_LINES = 3


@dataclass(frozen=True)
class Outcome:
    """What a child told in the end, and what its libraries warned of meanwhile."""

    values: dict[str, Any]
    warnings: tuple[str, ...]


def run_child(request: dict[str, Any], context: BuildContext) -> Outcome:
    """Have `build_child` do what is asked for, and wait for it.

    Raises BackendError where it fails, is cancelled, takes too long, or crashes, StorageError where files cannot be
    written.
    """
    with writing_temporarily():
        log = tempfile.TemporaryFile()  # noqa: SIM115, only its making is told so
    with log:
        return _Run(request, log, context).run()


@dataclass
class _Run:
    """One child process and what it has told so far."""

    request: dict[str, Any]
    log: IO[bytes]
    context: BuildContext
    phases: list[BuildProgress] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outcome: dict[str, Any] | None = None

    def run(self) -> Outcome:
        self._start, self._told = monotonic(), monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            start_new_session=True,  # the terminal's Ctrl-C reaches the parent alone, which ends the child
            env=_environment(),
        )
        try:
            self._listen(child)
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                _close(stream)
        return self._result(code)

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        _write(child.stdin, json.dumps({**self.request, "parent": os.getpid()}).encode() + b"\n")
        for line in _lines(child.stdout):
            if line:
                self._hear(json.loads(line))
            self.context.check()
            if monotonic() - self._start > self.context.timeout:
                raise BuildEndedError(
                    f"the engine build took longer than {self.context.timeout:.0f} s{self._phase()}: allow it more time"
                )
            if monotonic() - self._told > _HEARTBEAT:
                self._tell()

    def _hear(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "phase":
            self.phases.append(BuildProgress(event["name"], 0, event["steps"]))
        elif kind == "step":
            self._step(event["name"], event["done"])
        elif kind == "finish":
            self.phases = [phase for phase in self.phases if phase.phase != event["name"]]
        elif kind == "log":
            self.warnings.append(f"{event['severity']}: {event['message'].strip()}")
        else:
            self.outcome = event
        if kind in ("phase", "step"):
            self._tell()

    def _step(self, name: str, done: int) -> None:
        self.phases = [
            BuildProgress(name, done, phase.total) if phase.phase == name else phase for phase in self.phases
        ]

    def _tell(self) -> None:
        self._told = monotonic()
        phase = self.phases[-1] if self.phases else BuildProgress("Starting", 0, 1)
        self.context.report(BuildProgress(phase.phase, phase.done, phase.total, self._told - self._start))

    def _result(self, code: int) -> Outcome:
        outcome = self.outcome or {}
        if code == 0 and outcome.get("event") == "done":
            return Outcome(outcome, tuple(self.warnings))
        if outcome.get("storage"):
            raise StorageError(outcome["message"])
        if "message" in outcome:
            raise BackendError(_with_reasons(outcome["message"], self.warnings))
        ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        remedy = ": not enough memory? Lower the workspace, or close other programs" if code == -signal.SIGKILL else ""
        raise BackendError(f"the engine build's process ended {ended}{self._phase()}{remedy}. {self._last_words()}")

    def _phase(self) -> str:
        return f" in '{self.phases[-1].phase}'" if self.phases else ""

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = [*self.warnings, *self.log.read().decode(errors="replace").splitlines()]
        said = [line.strip() for line in lines if line.strip()][-_LOG_LINES:]
        return f"Its log ends: {' | '.join(said)}" if said else "It logged nothing"


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Whole lines of a pipe, and an empty one each time that nothing comes for a while."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(_TICK):
                yield b""
                continue
            chunk = os.read(stream.fileno(), 1 << 16)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _with_reasons(message: str, warnings: list[str]) -> str:
    errors = [line for line in warnings if "ERROR" in line]
    return f"{message}. {' | '.join(errors[-_LOG_LINES:])}" if errors else message


def _environment() -> dict[str, str]:
    """The child imports this very package, wherever its parent found it."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _write(stream: IO[bytes], content: bytes) -> None:
    try:
        stream.write(content)
        stream.flush()
    except BrokenPipeError:
        return  # the child is gone already: its exit code and log tell why


def _close(stream: IO[bytes] | None) -> None:
    try:
        if stream is not None:
            stream.close()
    except BrokenPipeError:
        return
