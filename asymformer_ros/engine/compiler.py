"""Makes a plan of an ONNX file: what is asked of TensorRT's builder, in each of its versions.

Variables are named after their TensorRT class, as in `api.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asymformer_ros.engine.api import (
    Listener,
    TensorInfo,
    TensorRt,
    compute_capability_name,
    dtype_name,
    make_logger,
    starting,
)
from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.engine.layer_types import set_precision
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError, CheckpointError
from asymformer_ros.system.files import write_atomically
from asymformer_ros.system.limits import available_memory

_MIB = 1 << 20
_LEAST_WORKSPACE = 256  # MiB, on a computer whose memory is full


@dataclass(frozen=True)
class CompiledPlan:
    """A serialised engine, and what was learnt while it was built.

    unmatched: pinned names that no layer has. logger: an ILogger, which TensorRT uses from now on in this process.
    """

    plan: Any
    logger: Any
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: int
    unmatched: tuple[str, ...]


def compile_plan(library: TensorRt, onnx: Path, options: BuildOptions, listener: Listener) -> CompiledPlan:
    """Parse an ONNX file and build it. Raises BackendError with the parser's or builder's own words."""
    trt, heard = library.trt, _Heard(listener)
    logger = make_logger(trt, heard)
    with starting(library):
        builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(library))
    _parse(library, network, onnx, logger)
    config = builder.create_builder_config()
    unmatched = set_precision(library, network, config, options)
    limit = _limit_workspace(trt, config, options)
    _configure(trt, config, options, heard)
    timings = options.timing_cache if library.name == "tensorrt" else None  # TensorRT-RTX's does nothing
    if timings is not None:
        _read_timings(config, timings, heard)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    layers = network.num_layers
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(f"{library.name} {library.version} could not build {onnx.name}{heard.remedy(limit)}")
    if timings is not None:
        _write_timings(config, timings, heard)
    return CompiledPlan(plan, logger, _describe(inputs), _describe(outputs), layers, unmatched)


@dataclass
class _Heard:
    """A Listener that passes everything on, and remembers complaints."""

    listener: Listener
    complaints: list[str] = field(default_factory=list)

    def phase(self, name: str, steps: int) -> None:
        self.listener.phase(name, steps)

    def step(self, name: str, done: int) -> bool:
        return self.listener.step(name, done)

    def finish(self, name: str) -> None:
        self.listener.finish(name)

    def log(self, severity: str, message: str) -> None:
        if severity in ("INTERNAL_ERROR", "ERROR", "WARNING"):
            self.complaints.append(message.lower())
        self.listener.log(severity, message)

    def remedy(self, limit: int | None) -> str:
        """What to do about a build that failed. limit: of the workspace, in MiB."""
        short = any(word in complaint for complaint in self.complaints for word in ("memory", "workspace"))
        if limit is not None:
            return f": raise the workspace (`--workspace`, now {limit} MiB), for a layer may need more scratch memory"
        return ": the GPU has too little free memory: close other programs that use it" if short else ""


def _network_flags(library: TensorRt) -> int:
    trt, flags = library.trt, 0
    if library.precision_in_graph:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    elif hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)  # 8.6 needs it, 10.x ignores it
    return flags


def _parse(library: TensorRt, network: Any, onnx: Path, logger: Any) -> None:
    trt = library.trt
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise _unparsed(library, onnx, "; ".join(errors[:3]) or "it gives no reason")
    if not network.num_outputs:  # the parser takes an empty file, text and some noise for a network of no layers
        raise BackendError(f"{onnx.name} cannot be parsed (it holds no network): export the model again")


def _unparsed(library: TensorRt, onnx: Path, reason: str) -> BackendError:
    """Blames the file only where ONNX itself does: an old parser lacks kinds of node that a good file has."""
    if not _is_valid(onnx):
        return BackendError(f"{onnx.name} cannot be parsed ({reason}): export the model again")
    return BackendError(
        f"{library.name} {library.version} cannot parse {onnx.name} ({reason}), though it is valid ONNX: use a newer "
        "TensorRT, or serve with torch or onnxruntime"
    )


def _is_valid(onnx_file: Path) -> bool:
    """Whether ONNX's own checker has nothing against a file."""
    from onnx import checker  # only where something has gone wrong

    from asymformer_ros.models.onnx_file import load

    try:
        checker.check_model(load(str(onnx_file)))
    except (CheckpointError, checker.ValidationError):
        return False
    return True


def _configure(trt: Any, config: Any, options: BuildOptions, listener: Listener) -> None:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the inspector tells precisions only then
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.gpu is not None and hasattr(trt, "ComputeCapability"):
        _aim(trt, config, options.gpu)
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # TensorRT-RTX: else no CUDA graph can be captured
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if hasattr(trt, "IProgressMonitor") and hasattr(config, "progress_monitor"):  # 8.6 has neither
        monitor = _monitor(trt, listener)
        config.progress_monitor = monitor


def _aim(trt: Any, config: Any, gpu: GpuInfo) -> None:
    """Build for one GPU alone. Without it a plan of TensorRT-RTX is for many, but not for Turing."""
    if not (hasattr(config, "num_compute_capabilities") and hasattr(config, "set_compute_capability")):
        return
    own = getattr(trt.ComputeCapability, compute_capability_name(gpu), trt.ComputeCapability.CURRENT)
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(own, 0):
        raise BackendError(f"the builder refuses compute capability {gpu.capability}: use the builder tensorrt")


def _limit_workspace(trt: Any, config: Any, options: BuildOptions) -> int | None:
    """Bound the scratch memory of layers; returns the limit in MiB, None where there is none.

    Without an option, a GPU with memory of its own has no limit; one that shares the computer's gets half of what is
    free, because the system would end the build, or the node, where it took all.
    """
    limit = options.workspace_mib
    if limit is None and options.gpu is not None and options.gpu.integrated:
        limit = max(_LEAST_WORKSPACE, available_memory() // 2 // _MIB)
    if limit is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit * _MIB)
    return limit


def _read_timings(config: Any, path: Path, listener: Listener) -> None:
    try:
        timings = path.read_bytes()
    except FileNotFoundError:
        timings = b""
    except OSError as error:
        listener.log("WARNING", f"timing cache {path} cannot be read ({error.strerror}): starting a new one")
        timings = b""
    known = config.create_timing_cache(timings)
    if known is None or not config.set_timing_cache(known, ignore_mismatch=False):
        listener.log("WARNING", f"timing cache {path.name} is of another TensorRT or GPU: starting a new one")
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _write_timings(config: Any, path: Path, listener: Listener) -> None:
    try:
        write_atomically(path, memoryview(config.get_timing_cache().serialize()))
    except OSError as error:
        listener.log("WARNING", f"timing cache {path} cannot be written ({error.strerror}): the next build starts anew")


def _describe(tensors: Sequence[Any]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(tensor.name, tuple(tensor.shape), dtype_name(tensor.dtype)) for tensor in tensors)


def _monitor(trt: Any, listener: Listener) -> Any:
    """An IProgressMonitor that passes everything on."""
    methods = {
        "__init__": lambda self: trt.IProgressMonitor.__init__(self),
        "phase_start": lambda _self, name, _parent, steps: listener.phase(name, steps),
        "step_complete": lambda _self, name, step: listener.step(name, step + 1),
        "phase_finish": lambda _self, name: listener.finish(name),
    }
    return type("Monitor", (trt.IProgressMonitor,), methods)()
