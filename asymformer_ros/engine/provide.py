"""The engine of a model: from the cache where it still fits, built and verified where it does not."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from asymformer_ros.engine.build import BuildResult, GraphFiles, build_plan
from asymformer_ros.engine.cache import Engine, EngineCache, Stale, sweep, temporary_plan
from asymformer_ros.engine.context import BuildContext, BuildEndedError
from asymformer_ros.engine.disk import temporary_folder
from asymformer_ros.engine.manifest import EngineManifest, file_sha256
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.engine.request import EngineRequest
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError

_log = logging.getLogger(__name__)

_NOTED_WARNINGS = 20


def provide_engine(cache: EngineCache, request: EngineRequest, context: BuildContext) -> Engine:
    """The engine that is wanted, from the cache or built now; another process that builds it is waited for.

    Raises BackendError where it cannot be built or trusted, or the build is cancelled, ConfigurationError where the
    cache cannot be written.
    """
    found = _find(cache, request)
    if isinstance(found, Engine):
        return found
    with cache.locked(request.identity, context) as slot:
        found = _find(cache, request)  # again: another process may have built it meanwhile
        if isinstance(found, Engine):
            _log.info("another process has built the engine: using it")
            return found
        for reason in found.reasons:
            _log.info("the engine in the cache is stale: %s", reason)
        sweep(slot)
        with temporary_plan(slot) as plan, temporary_folder() as folder:
            kept = request.report.fp32_layers if request.report else None
            graphs = GraphFiles(request.model, folder, request.library.precision_in_graph, kept)
            timings = cache.folder / f"timings-{request.library.name}-{request.library.version}.bin"
            made = _attempt(request, _Workshop(graphs, plan, timings), context)
            return cache.store(slot, plan, _manifest(request, plan, made))


def _find(cache: EngineCache, request: EngineRequest) -> Engine | Stale:
    """Any optimization level will do for a request that names none."""
    found, level = cache.find(request.identity, verified=request.check is not None), request.optimization_level
    if isinstance(found, Engine) and level is not None and level != found.manifest.optimization_level:
        built = found.manifest.optimization_level
        return Stale((f"it was built with optimization level {'default' if built is None else built}, not {level}",))
    return found


@dataclass(frozen=True)
class _Workshop:
    """Where one engine is built. plan: the file that is to be written."""

    graphs: GraphFiles
    plan: Path
    timings: Path


@dataclass(frozen=True)
class _Made:
    """What a build ended with. verification: None where nothing could be run. notes: on what failed before it."""

    precision: str
    built: BuildResult
    verification: Verification | None
    notes: tuple[str, ...]


def _attempt(request: EngineRequest, workshop: _Workshop, context: BuildContext) -> _Made:
    """Build in the first precision, and in the next one for as long as it cannot be built or trusted.

    Raises BackendError where even the last one fails, or the build is cancelled or takes too long.
    """
    notes: list[str] = []
    for precision in request.precisions:
        try:
            built = _build(request, precision, workshop, context)
        except BuildEndedError:
            raise
        except BackendError as error:
            notes.append(f"{precision} engine could not be built: {error}")
            _log.info(notes[-1])
            continue
        verification = _verify(request, workshop.plan, built, context)
        if verification is not None and verification.fp32_convolutions and precision == "fp16":
            notes.append(f"{verification.fp32_convolutions} convolutions of the fp16 engine compute in FP32")
            _log.info(notes[-1])
        if verification is None or verification.passed:
            return _Made(precision, built, verification, tuple(notes))
        notes.append(f"{precision} engine refused: {verification.problem}")
        _log.info(notes[-1])
    raise BackendError(
        f"no engine of this model can be built and trusted here ({'; '.join(notes)}): serve with torch or onnxruntime, "
        "and try another TensorRT version"
    )


def _build(request: EngineRequest, precision: str, workshop: _Workshop, context: BuildContext) -> BuildResult:
    library = request.library
    _log.info("building %s in %s with %s %s", request.model.name, precision, library.name, library.version)
    if library.name == "tensorrt":
        _log.info("it times kernels: best while nothing else uses the GPU, with `asymformer build-engine`")
    onnx, pinned = workshop.graphs.make(precision, context)
    options = BuildOptions(
        builder=library.name,
        precision=precision,
        workspace_mib=request.workspace_mib,
        optimization_level=request.optimization_level,
        pinned=pinned,
        timing_cache=workshop.timings,
        gpu=request.gpu,
    )
    return build_plan(onnx, workshop.plan, options, context)


def _verify(request: EngineRequest, plan: Path, built: BuildResult, context: BuildContext) -> Verification | None:
    if request.check is None:
        return None
    convolutions = None if built.fp32_convolutions is None else len(built.fp32_convolutions)
    return replace(request.check.verify(plan, context), fp32_convolutions=convolutions)


def _manifest(request: EngineRequest, plan: Path, made: _Made) -> EngineManifest:
    built = made.built
    unmatched = [f"no layer is called {name}: it was not kept in FP32" for name in built.unmatched]
    return EngineManifest(
        identity=request.identity,
        served_precision=made.precision,
        plan_bytes=plan.stat().st_size,
        plan_sha256=file_sha256(plan),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=round(built.seconds, 3),
        precisions=built.precisions,
        verification=made.verification,
        workspace_mib=request.workspace_mib,
        optimization_level=request.optimization_level,
        notes=(*made.notes, *unmatched, *built.warnings[:_NOTED_WARNINGS]),
    )
