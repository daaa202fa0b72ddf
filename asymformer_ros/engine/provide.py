"""The engine of a model: from the cache where it still fits, built and verified where it does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from asymformer_ros.engine.api import Library, installed_builders, load_library
from asymformer_ros.engine.build import BuildResult, Watch, build_plan
from asymformer_ros.engine.cache import Engine, EngineCache, Stale, sweep
from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.engine.manifest import EngineIdentity, EngineManifest, file_sha256
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.engine.verify import Rung, Verification, climb_down
from asymformer_ros.errors import BackendError

_NOTED_WARNINGS = 20

Verifier = Callable[[Path, BuildResult], Verification]
"""Runs a plan on golden frames; only called where there is a GPU."""


@dataclass(frozen=True)
class Source:
    """What an engine of one precision is built of: an ONNX file, and the names of its nodes that stay in FP32."""

    onnx: Path
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineRequest:
    """A model and how its engine is wanted.

    shapes: of its inputs, by name. source: for a builder and a precision (see `Library.precision_in_graph`); called
    only when something has to be built. precisions: to try in this order, the first being the one of `options`.
    verifier: None builds without verifying, and such an engine is built again as soon as there is a verifier.
    """

    model_name: str
    model_sha256: str
    shapes: Mapping[str, tuple[int, ...]]
    source: Callable[[Library, str], Source]
    options: BuildOptions
    precisions: tuple[str, ...]
    verifier: Verifier | None = None


def choose_builder(choice: str, gpu: GpuInfo | NoGpu) -> Library:
    """Load the builder that is asked for, or the first that is installed and can build here.

    Raises BackendError, which says what is missing, where there is none.
    """
    installed = installed_builders()
    if choice == "auto":
        able = [name for name in installed if name == "tensorrt_rtx" or isinstance(gpu, GpuInfo)]
        if not able:
            found = f"{' and '.join(installed) or 'no TensorRT'} installed, {gpu}"
            raise BackendError(f"no builder can build engines here ({found}): serve with torch or onnxruntime")
        choice = able[0]
    if choice == "tensorrt" and isinstance(gpu, NoGpu):
        raise BackendError(f"TensorRT builds only where its engine is to run, and there is {gpu.reason}")
    library = load_library(choice)
    if isinstance(gpu, GpuInfo) and not library.supports(gpu):
        raise BackendError(
            f"{library.name} {library.version} does not support {gpu.name} (compute capability {gpu.capability}): "
            "use the builder tensorrt"
        )
    return library


def provide_engine(
    cache: EngineCache, request: EngineRequest, watch: Watch, log: Callable[[str], None], builder: str = "auto"
) -> Engine:
    """The engine of a model, from the cache or built now; another process that builds it is waited for.

    log: told why an engine is built again, and what was found. Raises BackendError where it cannot be built or
    trusted, ConfigurationError where the cache cannot be written.
    """
    gpu = probe_gpu()
    library = choose_builder(builder, gpu)
    request = replace(request, options=replace(request.options, builder=library.name))
    identity = _identity(request, library, gpu)
    verified = request.verifier is not None and isinstance(gpu, GpuInfo)
    found = cache.find(identity, verified=verified)
    if isinstance(found, Engine):
        return found
    with cache.locked(identity, log, watch.cancelled) as slot:
        found = cache.find(identity, verified=verified)  # again: another process may have built it meanwhile
        if isinstance(found, Engine):
            log("another process has built the engine: using it")
            return found
        _explain(found, log)
        sweep(slot)
        return _build(cache, slot, _Job(request, library, identity, verified), watch, log)


@dataclass(frozen=True)
class _Job:
    request: EngineRequest
    library: Library
    identity: EngineIdentity
    verified: bool


def _build(cache: EngineCache, slot: Path, job: _Job, watch: Watch, log: Callable[[str], None]) -> Engine:
    plan = slot / f".engine.{os.getpid()}.tmp"
    request = job.request

    def build(precision: str) -> BuildResult:
        source = request.source(job.library, precision)
        timings = cache.folder / f"timings-{job.library.name}-{job.library.version}.bin"
        options = replace(request.options, precision=precision, pinned=source.pinned, timing_cache=timings)
        log(f"building {request.model_name} in {precision} with {job.library.name} {job.library.version}")
        return build_plan(source.onnx, plan, options, watch)

    def verify(_precision: str, built: BuildResult) -> Verification | None:
        if not job.verified or request.verifier is None:
            return None
        return replace(request.verifier(plan, built), fp32_convolutions=_count(built.fp32_convolutions))

    try:
        rung = climb_down(request.precisions, build, verify, log)
        return cache.store(slot, plan, _manifest(job.identity, plan, rung))
    finally:
        plan.unlink(missing_ok=True)


def _manifest(identity: EngineIdentity, plan: Path, rung: Rung[BuildResult]) -> EngineManifest:
    built = rung.built
    unmatched = [f"no layer is called {name}: it was not kept in FP32" for name in built.unmatched]
    return EngineManifest(
        identity=identity,
        served_precision=rung.precision,
        plan_bytes=plan.stat().st_size,
        plan_sha256=file_sha256(plan),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=round(built.seconds, 3),
        precisions=built.precisions,
        verification=rung.verification,
        notes=(*rung.notes, *unmatched, *built.warnings[:_NOTED_WARNINGS]),
    )


def _identity(request: EngineRequest, library: Library, gpu: GpuInfo | NoGpu) -> EngineIdentity:
    return EngineIdentity(
        model_name=request.model_name,
        model_sha256=request.model_sha256,
        precision=request.options.precision,
        shapes=request.shapes,
        builder=library.name,
        builder_version=library.version,
        gpu=gpu.name if isinstance(gpu, GpuInfo) else "",
        compute_capability=gpu.capability if isinstance(gpu, GpuInfo) else "",
        workspace_mib=request.options.workspace_mib,
        pinned=request.options.pinned,
    )


def _explain(stale: Stale, log: Callable[[str], None]) -> None:
    for reason in stale.reasons:
        log(f"the engine in the cache is stale: {reason}")


def _count(names: tuple[str, ...] | None) -> int | None:
    return None if names is None else len(names)
