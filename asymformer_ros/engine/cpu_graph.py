"""The ONNX graph that serves a model on a CPU: from the cache, or made now and checked.

It lies beside the engines, in a cache of the same rules, as ONNX Runtime has optimised it for this kind of processor.
Its key is the hash of the model's file, so that neither the network nor PyTorch nor onnx has to be loaded where it is
found. A child process makes it, and compares it with FP32 once: see `make_cpu_graph`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Generic, TypeVar

from asymformer_ros.engine.cache import Engine, EngineCache, sweep, temporary_plan
from asymformer_ros.engine.child import run_child
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.disk import StorageError, temporary_folder
from asymformer_ros.engine.manifest import EngineIdentity, EngineManifest, file_sha256
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError, CheckpointError
from asymformer_ros.models.labels import read_label_set
from asymformer_ros.system.limits import cpu_flags

_log = logging.getLogger(__name__)

Opened = TypeVar("Opened")
"""What serves a graph."""


@dataclass(frozen=True)
class CpuGraphRequest(Generic[Opened]):
    """A graph that is wanted. path: of a model's file that is there. label_set: see `open_model`.

    open_file: opens the file of the graph to serve it. precision: "fp32", "int8", or "bf16", which OpenVINO computes
    in. A graph in FP32 must agree with FP32, of the others it is only known how far they do. input_size: (height,
    width), None for the model's own.
    """

    path: Path
    label_set: str
    open_file: Callable[[Path], Opened]
    precision: str = "fp32"
    input_size: tuple[int, int] | None = None

    @cached_property
    def file_sha256(self) -> str:
        """Of the model's file. Raises CheckpointError where it cannot be read."""
        try:
            return file_sha256(self.path)
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path}: {error.strerror}") from error

    @cached_property
    def identity(self) -> EngineIdentity:
        """What the graph depends on. Raises CheckpointError where the model cannot be read."""
        labels = json.dumps(read_label_set(self.label_set).to_json()) if self.label_set else ""
        content = sha256(self.file_sha256.encode() + labels.encode()).hexdigest()
        shapes = {"input": self.input_size} if self.input_size else {}
        return EngineIdentity(self.path.stem, content, self.precision, shapes, *_library(self.precision))


@dataclass(frozen=True)
class CpuGraph(Generic[Opened]):
    """A graph that serves, and how its labels compare with FP32's on golden frames."""

    opened: Opened
    verification: Verification


def _library(precision: str) -> tuple[str, str]:
    """What runs the graph, and its version with this processor's kind, of which an optimised graph depends, too.

    The version is the library's own word: its package has several names.
    """
    if precision == "bf16":
        from asymformer_ros.onnx_graph.bf16_session import VERSION

        return "openvino", VERSION
    from asymformer_ros.onnx_graph.session import VERSION

    processor = sha256(" ".join(sorted(cpu_flags())).encode()).hexdigest()[:8]
    return "onnxruntime", f"{VERSION} for processor {processor}"


def graph_cache(folder: Path) -> EngineCache:
    """The cache of graphs beside the engines of a folder."""
    return EngineCache(folder / "cpu")


def find_cpu_graph(cache: EngineCache, request: CpuGraphRequest[Opened]) -> CpuGraph[Opened] | None:
    """The graph that was kept, open; None where there is none, and where it cannot be used, which is logged."""
    found = _find(cache, request)
    if isinstance(found, CpuGraph):
        return found
    for problem in found:
        _log.info("the graph of %s in the cache cannot be used: %s", request.path, problem)
    return None


def _find(cache: EngineCache, request: CpuGraphRequest[Opened]) -> CpuGraph[Opened] | tuple[str, ...]:
    """The graph, or what is wrong with it."""
    try:
        found = cache.find(request.identity, verified=request.precision == "fp32")
        if not isinstance(found, Engine):
            return found.reasons
        if found.manifest.verification is None:
            return ("it was never compared with FP32",)
        return CpuGraph(request.open_file(found.plan), found.manifest.verification)
    except (BackendError, CheckpointError, OSError) as error:
        return (str(error),)


def provide_cpu_graph(
    cache: EngineCache, request: CpuGraphRequest[Opened], context: BuildContext, *, must_keep: bool = False
) -> CpuGraph[Opened]:
    """The graph, open, from the cache or made now.

    must_keep: raise StorageError where the cache cannot be written; else that is a warning.
    Raises BackendError where the graph cannot be made, answers unlike the network it was made of, or its making is
    cancelled, CheckpointError where the model cannot be read.
    """
    try:
        with cache.locked(request.identity, context) as slot:
            found = _find(cache, request)  # another process may have made it meanwhile
            if isinstance(found, CpuGraph):
                return found
            sweep(slot)
            with temporary_plan(slot) as file:
                manifest, verification = _make(request, file, context)
                kept = cache.store(slot, file, manifest)
            return CpuGraph(request.open_file(kept.plan), verification)
    except StorageError as error:
        if must_keep:
            raise
        _log.warning("%s; meanwhile the graph is made anew at each start", error)
    with temporary_folder() as folder:
        file = folder / "graph.onnx"
        _, verification = _make(request, file, context)
        return CpuGraph(request.open_file(file), verification)


def _make(request: CpuGraphRequest[Opened], file: Path, context: BuildContext) -> tuple[EngineManifest, Verification]:
    start = perf_counter()
    _log.info("making the %s graph of %s; this is done once", request.precision, request.path)
    task = {"task": "cpu_graph", "model": str(request.path), "label_set": request.label_set, "onnx": str(file)}
    wanted = {"sha256": request.file_sha256, "precision": request.precision, "input_size": request.input_size}
    told = run_child({**task, **wanted}, context).values
    verification = Verification.from_json(told["verification"])
    if request.precision == "fp32" and not verification.passed:
        raise BackendError(f"the graph of {request.path} is refused: {verification.problem}")
    return EngineManifest(
        identity=request.identity,
        served_precision=request.precision,
        plan_bytes=file.stat().st_size,
        plan_sha256=file_sha256(file),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=round(perf_counter() - start, 3),
        verification=verification,
    ), verification
