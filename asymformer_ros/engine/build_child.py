"""The process that builds: `python -m asymformer_ros.engine.build_child`, started by `build`.

Its first line of input is the request; when the input ends, its parent is gone, and it ends too. Its output is one JSON
object per line; what TensorRT itself prints goes to the error stream.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

from asymformer_ros.engine import api
from asymformer_ros.engine.driver import NoGpu, probe_gpu
from asymformer_ros.engine.inspector import count_precisions, fp32_convolutions, read_layers
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError

_STEP_INTERVAL = 0.1  # seconds between two steps that are told


class Reporter:
    """Writes events as lines of JSON; steps only as often as a person can read them. Any thread may call it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._next_step = 0.0

    def send(self, event: str, **values: object) -> None:
        with self._lock:
            self._stream.write(json.dumps({"event": event, **values}) + "\n")
            self._stream.flush()

    def phase(self, name: str, steps: int) -> None:
        self.send("phase", name=name, steps=steps)

    def step(self, name: str, done: int) -> bool:
        now = perf_counter()
        if now >= self._next_step:
            self._next_step = now + _STEP_INTERVAL
            self.send("step", name=name, done=done)
        return True

    def finish(self, name: str) -> None:
        self.send("finish", name=name)

    def log(self, severity: str, message: str) -> None:
        if severity in ("INTERNAL_ERROR", "ERROR", "WARNING"):
            self.send("log", severity=severity, message=message)


def main() -> int:
    """Read one request, build, tell the result."""
    reporter = Reporter(_claim_stdout())
    request = json.loads(sys.stdin.readline())
    plan = Path(request["plan"])
    threading.Thread(target=_end_with_parent, args=(plan,), daemon=True).start()
    try:
        options = BuildOptions.from_json(request["options"])
        reporter.send("done", **_build(Path(request["onnx"]), plan, options, reporter))
    except (BackendError, OSError) as error:
        reporter.send("failed", message=str(error))
        return 1
    return 0


def _build(onnx: Path, path: Path, options: BuildOptions, reporter: Reporter) -> dict[str, Any]:
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu) and options.builder == "tensorrt":
        raise BackendError(f"TensorRT builds only where its engine is to run, and there is {gpu.reason}")
    library = api.load_library(options.builder)
    start = perf_counter()
    reporter.phase(f"Parsing {onnx.name}", 1)
    built = api.build(library, onnx, options, reporter)
    seconds = perf_counter() - start
    plan = bytes(built.plan)
    path.write_bytes(plan)
    return {
        "version": library.version,
        "seconds": seconds,
        "layers": built.layers,
        "inputs": [asdict(tensor) for tensor in built.inputs],
        "outputs": [asdict(tensor) for tensor in built.outputs],
        "unmatched": built.unmatched,
        **({} if isinstance(gpu, NoGpu) else _inspect(library, plan, reporter)),
    }


def _inspect(library: api.Library, plan: bytes, reporter: Reporter) -> dict[str, Any]:
    """What the engine inspector tells, on the GPU that the plan is made for."""
    reporter.phase("Inspecting the engine", 1)
    _, text = api.inspect(library, plan, reporter)
    layers = read_layers(text)
    return {"precisions": count_precisions(layers), "fp32_convolutions": fp32_convolutions(layers)}


def _claim_stdout() -> TextIO:
    """The real standard output for our lines alone; everything else that writes to it lands in the error stream."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def _end_with_parent(plan: Path) -> None:
    while sys.stdin.read(1):
        pass
    plan.unlink(missing_ok=True)
    os._exit(1)


if __name__ == "__main__":
    # Not sys.exit: after a build the interpreter's own end may crash in a driver's or TensorRT's clean-up.
    code = main()
    sys.stderr.flush()
    os._exit(code)
