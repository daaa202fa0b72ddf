"""The process that works for a build: `python -m asymformer_ros.engine.build_child`, started by `run_child`.

Its input is the request. Its output is one JSON object per line; what TensorRT itself prints goes to the error stream.
It ends with its parent; a file that it was writing then is removed by the next build in the same folder.
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
from asymformer_ros.engine.compiler import compile_plan
from asymformer_ros.engine.disk import StorageError, writing, writing_temporarily
from asymformer_ros.engine.inspector import count_precisions, fp32_convolutions, read_layers
from asymformer_ros.engine.manifest import file_sha256
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import AsymformerError, BackendError
from asymformer_ros.system.files import write_atomically
from asymformer_ros.system.signals import end_with_parent

_NICE = 10  # of the export beside a node that serves
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
    end_with_parent(request["parent"])
    building = request["task"] == "build"
    made = Path(request["plan"] if building else request["onnx"])
    try:
        if building:
            options = BuildOptions.from_json(request["options"])
            reporter.send("done", **_build(Path(request["onnx"]), made, options, reporter))
        elif request["task"] == "cpu_graph":
            reporter.send("done", **_make_cpu_graph(request, reporter))
        else:
            reporter.send("done", pinned=_make_graph(request, reporter))
    except StorageError as error:
        reporter.send("failed", message=str(error), storage=True)
        return 1
    except (AsymformerError, OSError) as error:
        reporter.send("failed", message=str(error))
        return 1
    return 0


def _build(onnx: Path, path: Path, options: BuildOptions, reporter: Reporter) -> dict[str, Any]:
    library = api.load_library(options.builder)
    start = perf_counter()
    reporter.phase(f"Parsing {onnx.name}", 1)
    built = compile_plan(library, onnx, options, reporter)
    seconds = perf_counter() - start
    plan = bytes(built.plan)
    _store(path, plan)
    return {
        "version": library.version,
        "seconds": seconds,
        "layers": built.layers,
        "inputs": [asdict(tensor) for tensor in built.inputs],
        "outputs": [asdict(tensor) for tensor in built.outputs],
        "unmatched": built.unmatched,
        **({} if options.gpu is None else _inspect(library, plan, built.logger, reporter)),
    }


def _store(path: Path, content: bytes) -> None:
    """Write a file. Raises StorageError where that fails."""
    remedy = "make room there, or choose another folder: `--cache` or `engine_cache` for engines, TMPDIR for the rest"
    with writing(f"{len(content) / 1e6:.0f} MB in the folder", path.parent, remedy):
        write_atomically(path, content)


def _make_graph(request: dict[str, Any], reporter: Reporter) -> tuple[str, ...]:
    """Write the graph that is asked for; returns the names of the nodes that must stay in FP32 in it."""
    from asymformer_ros.engine import source
    from asymformer_ros.models.onnx_file import load
    from asymformer_ros.models.opening import open_model
    from asymformer_ros.onnx_graph.mixed import nodes_to_pin

    reporter.phase("Preparing the graph", 1)
    plain, precision, layers = Path(request["plain"]), request["precision"], request["fp32_layers"]
    if not plain.is_file():
        model = open_model(request["model"], batch=request["batch"], label_set=request["label_set"])
        with writing_temporarily():
            graph = source.plain_graph(model)
        _store(plain, graph.SerializeToString())
    if precision == "mixed" and layers is None:
        reporter.phase("Looking for layers that must stay in FP32", 1)
        layers = source.survey(open_model(request["model"], label_set=request["label_set"]))
    kept = tuple(layers) if precision == "mixed" else ()
    graph = load(plain)
    if not request["typed"]:
        return nodes_to_pin(graph, kept)
    _store(Path(request["onnx"]), source.typed_graph(graph, precision, kept).SerializeToString())
    return ()


def _make_cpu_graph(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Write the graph of a model for a CPU, in the time that serving leaves, and tell how far it agrees with FP32."""
    from asymformer_ros.engine.cpu_making import make_cpu_graph
    from asymformer_ros.models.opening import open_model

    os.nice(_NICE)
    reporter.phase("Exporting the network", 1)
    size = tuple(request["input_size"]) if request["input_size"] else None
    model = open_model(request["model"], label_set=request["label_set"], form="bundle", input_size=size)
    if request["sha256"] != (model.file_sha256 or file_sha256(Path(request["model"]))):
        raise BackendError(f"{request['model']} has changed meanwhile or has weights in other files: no graph is kept")
    with writing_temporarily():
        content, verification = make_cpu_graph(model, request["precision"])
    _store(Path(request["onnx"]), content)
    return {"verification": verification.to_json()}


def _inspect(library: api.TensorRt, plan: bytes, logger: Any, reporter: Reporter) -> dict[str, Any]:
    """What the engine inspector tells, on the GPU that the plan is made for: information, without which it serves."""
    reporter.phase("Inspecting the engine", 1)
    try:
        layers = read_layers(api.inspect_plan(library, plan, logger))
    except ValueError as error:
        reporter.log("WARNING", str(error))
        return {}
    return {"precisions": count_precisions(layers), "fp32_convolutions": fp32_convolutions(layers)}


def _claim_stdout() -> TextIO:
    """The real standard output for our lines alone; everything else that writes to it lands in the error stream."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


if __name__ == "__main__":
    # Not sys.exit: after a build the interpreter's own end may crash in a driver's or TensorRT's clean-up.
    code = main()
    sys.stderr.flush()
    os._exit(code)
