"""Builds an engine in a child process: progress, cancelling, a time limit, and crashes that stay outside."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any

from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError

_CHILD = "asymformer_ros.engine.build_child"
_TICK = 0.25  # seconds between two looks at cancelling and time
_HEARTBEAT = 1.0  # seconds after which progress is told again, though nothing new is known
_LOG_LINES = 3


@dataclass(frozen=True)
class Progress:
    """Where a build stands: step `done` of `total` of the innermost phase, `seconds` after its start."""

    phase: str
    done: int
    total: int
    seconds: float


@dataclass(frozen=True)
class Watch:
    """Who looks on: on_progress hears at least once a second, cancelled is asked as often, timeout is in seconds."""

    on_progress: Callable[[Progress], None] = lambda progress: None
    cancelled: Callable[[], bool] = lambda: False
    timeout: float = 3600.0


@dataclass(frozen=True)
class BuildResult:
    """What a build told. inputs, outputs: (name, shape, dtype). precisions: number of layers by precision.

    precisions and fp32_convolutions are None where there was no GPU to load the engine on. unmatched: pinned names
    that no layer has. warnings: what the builder said.
    """

    version: str
    seconds: float
    layers: int
    inputs: tuple[tuple[str, tuple[int, ...], str], ...]
    outputs: tuple[tuple[str, tuple[int, ...], str], ...]
    unmatched: tuple[str, ...] = ()
    precisions: dict[str, int] | None = None
    fp32_convolutions: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


def build_plan(onnx: Path, plan: Path, options: BuildOptions, watch: Watch | None = None) -> BuildResult:
    """Build the engine of an ONNX file and write it to `plan`, whole or not at all.

    Raises BackendError where it cannot be built, is cancelled, takes too long, or the child process crashes.
    """
    if not onnx.is_file():
        raise BackendError(f"{onnx} does not exist: give an ONNX file")
    partial = plan.with_name(f".{plan.name}.{os.getpid()}.tmp")
    request = {"onnx": str(onnx.resolve()), "plan": str(partial.resolve()), "options": options.to_json()}
    try:
        with tempfile.TemporaryFile() as log:
            result = _Build(request, log, watch or Watch()).run()
        os.replace(partial, plan)
    finally:
        partial.unlink(missing_ok=True)
    return result


@dataclass
class _Build:
    """One child process and what it has told so far."""

    request: dict[str, Any]
    log: IO[bytes]
    watch: Watch
    phases: list[Progress] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outcome: dict[str, Any] | None = None

    def run(self) -> BuildResult:
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
        _write(child.stdin, json.dumps(self.request).encode() + b"\n")
        for line in _lines(child.stdout):
            if line:
                self._hear(json.loads(line))
            if self.watch.cancelled():
                raise BackendError("the engine build was cancelled")
            if monotonic() - self._start > self.watch.timeout:
                raise BackendError(
                    f"the engine build took longer than {self.watch.timeout:.0f} s{self._phase()}: allow it more time"
                )
            if monotonic() - self._told > _HEARTBEAT:
                self._tell()

    def _hear(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "phase":
            self.phases.append(Progress(event["name"], 0, event["steps"], 0.0))
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
            Progress(name, done, phase.total, 0.0) if phase.phase == name else phase for phase in self.phases
        ]

    def _tell(self) -> None:
        self._told = monotonic()
        phase = self.phases[-1] if self.phases else Progress("Starting", 0, 1, 0.0)
        self.watch.on_progress(Progress(phase.phase, phase.done, phase.total, self._told - self._start))

    def _result(self, code: int) -> BuildResult:
        outcome = self.outcome or {}
        if code == 0 and outcome.get("event") == "done":
            return _read_result(outcome, tuple(self.warnings))
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


def _read_result(event: dict[str, Any], warnings: tuple[str, ...]) -> BuildResult:
    convolutions = event.get("fp32_convolutions")
    return BuildResult(
        version=event["version"],
        seconds=event["seconds"],
        layers=event["layers"],
        inputs=tuple((tensor["name"], tuple(tensor["shape"]), tensor["dtype"]) for tensor in event["inputs"]),
        outputs=tuple((tensor["name"], tuple(tensor["shape"]), tensor["dtype"]) for tensor in event["outputs"]),
        unmatched=tuple(event["unmatched"]),
        precisions=event.get("precisions"),
        fp32_convolutions=None if convolutions is None else tuple(convolutions),
        warnings=warnings,
    )


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
