"""The ONNX graph that serves a model on a CPU: from the cache, or made now and checked.

It lies beside the engines, in a cache of the same rules. Its key is the hash of the model's file, so that neither the
network nor PyTorch has to be loaded where it is found.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from time import perf_counter

from asymformer_ros.engine.cache import Engine, EngineCache, sweep, temporary_plan
from asymformer_ros.engine.child import run_child
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.disk import StorageError, temporary_folder
from asymformer_ros.engine.golden import Answering, GoldenCheck
from asymformer_ros.engine.manifest import EngineIdentity, EngineManifest, file_sha256
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError
from asymformer_ros.models.labels import read_label_set
from asymformer_ros.models.model import Model

_log = logging.getLogger(__name__)

LIBRARY = "onnxruntime"


@dataclass(frozen=True)
class CpuGraphRequest:
    """A graph that is wanted. path: of a model's file that is there. label_set: see `open_model`.

    open_graph: makes of a graph what answers golden frames. precision: "fp32"; "int8", or "bf16" for the graph that a
    library gets which computes in it: these are not checked here.
    """

    path: Path
    label_set: str
    open_graph: Callable[[Model], Answering]
    precision: str = "fp32"

    @cached_property
    def identity(self) -> EngineIdentity:
        """What the graph depends on: the model's file is hashed once. Raises OSError where the model cannot be read."""
        from asymformer_ros.onnx_graph.session import VERSION  # of the library itself: its package has several names

        labels = json.dumps(read_label_set(self.label_set).to_json()) if self.label_set else ""
        content = sha256(file_sha256(self.path).encode() + labels.encode()).hexdigest()
        return EngineIdentity(self.path.stem, content, self.precision, {}, LIBRARY, VERSION)


def graph_cache(folder: Path) -> EngineCache:
    """The cache of graphs beside the engines of a folder."""
    return EngineCache(folder / "cpu")


def find_cpu_graph(cache: EngineCache, request: CpuGraphRequest) -> Model | None:
    """The model of a graph that was kept, None where there is none that fits, is undamaged and has been checked."""
    found = cache.find(request.identity, verified=request.precision == "fp32")
    return _read(request, found.plan) if isinstance(found, Engine) else None


def provide_cpu_graph(cache: EngineCache, request: CpuGraphRequest, context: BuildContext) -> Model:
    """The model of the graph, from the cache or made now. A cache that cannot be written is a warning.

    Raises BackendError where the model cannot be exported, answers unlike the network it was made of, or the export is
    cancelled.
    """
    made: Model | None = None
    identity = request.identity
    try:
        with cache.locked(identity, context) as slot:
            found = find_cpu_graph(cache, request)  # another process may have made it meanwhile
            if found is not None:
                return found
            sweep(slot)
            with temporary_plan(slot) as file:
                made, manifest = _make(request, identity, file, context)
                cache.store(slot, file, manifest)
            return made
    except StorageError as error:
        _log.warning("%s; meanwhile the graph is made anew at each start", error)
    if made is not None:
        return made
    with temporary_folder() as folder:
        return _make(request, identity, folder / "graph.onnx", context)[0]


def _make(
    request: CpuGraphRequest, identity: EngineIdentity, file: Path, context: BuildContext
) -> tuple[Model, EngineManifest]:
    start = perf_counter()
    _log.info("making the %s graph of %s; this is done once", request.precision, request.path)
    task = {"task": "cpu_graph", "model": str(request.path), "label_set": request.label_set, "onnx": str(file)}
    run_child({**task, "precision": request.precision}, context)
    model = _read(request, file)
    verification = _verify(request, model, context) if request.precision == "fp32" else None
    if verification is not None and not verification.passed:
        raise BackendError(f"the graph of {request.path} is refused: {verification.problem}")
    return model, EngineManifest(
        identity=identity,
        served_precision=request.precision,
        plan_bytes=file.stat().st_size,
        plan_sha256=file_sha256(file),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=round(perf_counter() - start, 3),
        verification=verification,
    )


def _verify(request: CpuGraphRequest, model: Model, context: BuildContext) -> Verification:
    """Against the answers of the network as it was trained, which the child has put into the file."""
    served = request.open_graph(model)
    return GoldenCheck(model, lambda _: served, lambda: served).verify(model.path, context)


def _read(request: CpuGraphRequest, file: Path) -> Model:
    from asymformer_ros.models.onnx_file import read_onnx  # onnx: only where a graph is made or found

    return replace(read_onnx(file), path=request.path)
