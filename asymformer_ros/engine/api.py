"""TensorRT 8.6, 10.x, 11.x and TensorRT-RTX behind one face; the only module that imports them.

What a version lacks is asked for with `hasattr`; flags are always the enums' own values. Variables are named after
their TensorRT class: so `test/test_engine_api.py` compares each attribute with what the real bindings have.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.engine.options import BUILDERS, BuildOptions
from asymformer_ros.errors import BackendError
from asymformer_ros.files import write_atomically

_STRONG_FROM = (10, 12)  # weak typing is deprecated from there on
_MIB = 1 << 20
_INSTALL = {
    "tensorrt": "`apt install python3-libnvinfer` on a Jetson, `pip install tensorrt` elsewhere",
    "tensorrt_rtx": "`pip install tensorrt_rtx`",
}


class Listener(Protocol):
    """What hears of a build's progress."""

    def phase(self, name: str, steps: int) -> None: ...

    def step(self, name: str, done: int) -> bool:
        """Return whether to go on."""

    def finish(self, name: str) -> None: ...

    def log(self, severity: str, message: str) -> None:
        """severity: INTERNAL_ERROR, ERROR, WARNING, INFO or VERBOSE."""


@dataclass(frozen=True)
class Library:
    """A TensorRT that is loaded."""

    name: str
    version: str
    trt: Any

    @property
    def precision_in_graph(self) -> bool:
        """Whether the engine has the precision of the ONNX graph's tensors, and not one of the builder's choice."""
        trt = self.trt
        if not hasattr(trt.BuilderFlag, "FP16"):
            return True
        return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") and self._numbers >= _STRONG_FROM

    def supports(self, gpu: GpuInfo) -> bool:
        """Whether TensorRT-RTX knows the GPU's compute capability; TensorRT itself says so only when it builds."""
        if self.name != "tensorrt_rtx" or not hasattr(self.trt, "ComputeCapability"):
            return True
        return hasattr(self.trt.ComputeCapability, f"SM{''.join(map(str, gpu.compute_capability))}")

    @property
    def _numbers(self) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a network: dtype as TensorRT calls it, e.g. "UINT8"."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class BuiltPlan:
    """A serialised engine, and what was learnt while it was built. unmatched: pinned names that no layer has."""

    plan: Any
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: int
    unmatched: tuple[str, ...]


def installed_builders() -> tuple[str, ...]:
    """Those of BUILDERS that can be imported, without importing them."""
    return tuple(name for name in BUILDERS if importlib.util.find_spec(name) is not None)


def load_library(name: str) -> Library:
    """Import one of BUILDERS. Raises BackendError, which says what to install, where it is not there."""
    try:
        if name == "tensorrt":
            import tensorrt as trt
        else:
            import tensorrt_rtx as trt
    except Exception as error:  # the bindings raise many types where a shared library is missing
        raise BackendError(f"{name} cannot be imported ({error}): {_INSTALL[name]}") from error
    return Library(name, str(trt.__version__), trt)


def build(library: Library, onnx: Path, options: BuildOptions, listener: Listener) -> BuiltPlan:
    """Parse an ONNX file and build it. Raises BackendError with the parser's or builder's own words."""
    trt = library.trt
    logger = make_logger(trt, listener)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(library))
    _parse(trt, network, onnx, logger)
    config = builder.create_builder_config()
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the inspector tells precisions only then
    unmatched = _set_precision(library, network, config, options)
    if hasattr(trt, "IProgressMonitor") and hasattr(config, "progress_monitor"):  # 8.6 has neither
        monitor = _monitor(trt, listener)
        config.progress_monitor = monitor
    timing_cache = options.timing_cache if library.name == "tensorrt" else None  # TensorRT-RTX's does nothing
    if timing_cache is not None:
        _read_timing_cache(config, timing_cache, listener)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    layers = network.num_layers
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(f"{library.name} {library.version} could not build {onnx.name}")
    if timing_cache is not None:
        _write_timing_cache(config, timing_cache)
    return BuiltPlan(plan, _describe(inputs), _describe(outputs), layers, unmatched)


def inspect(library: Library, plan: bytes, listener: Listener) -> tuple[tuple[TensorInfo, ...], str]:
    """Inputs and outputs of a plan and the engine inspector's JSON. Needs the GPU that the plan is made for.

    Raises BackendError where the plan cannot be loaded: of another version or GPU, or damaged.
    """
    trt = library.trt
    logger = make_logger(trt, listener)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError(f"{library.name} {library.version} cannot load the engine that it built")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    tensors = tuple(
        TensorInfo(name, tuple(engine.get_tensor_shape(name)), dtype_name(engine.get_tensor_dtype(name)))
        for name in names
    )
    inspector = engine.create_engine_inspector()
    return tensors, str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _network_flags(library: Library) -> int:
    trt, flags = library.trt, 0
    if library.precision_in_graph:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    elif hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)  # 8.6 needs it, 10.x ignores it
    return flags


def _parse(trt: Any, network: Any, onnx: Path, logger: Any) -> None:
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise _unparsed(onnx, "; ".join(errors[:3]) or "it gives no reason")
    if not network.num_outputs:  # the parser takes an empty file, text and some noise for a network of no layers
        raise _unparsed(onnx, "it holds no network")


def _unparsed(onnx: Path, reason: str) -> BackendError:
    return BackendError(f"{onnx.name} cannot be parsed ({reason}): export the model again")


def _set_precision(library: Library, network: Any, config: Any, options: BuildOptions) -> tuple[str, ...]:
    """Ask for the precision, or require it of the graph; returns the pinned names that no layer has."""
    trt = library.trt
    if library.precision_in_graph:
        _require_precision(trt, network, options.precision)
        return ()
    if options.precision == "fp32":
        return ()
    config.set_flag(trt.BuilderFlag.FP16)
    if not options.pinned:
        return ()
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    return _pin(trt, network, options.pinned)


def _require_precision(trt: Any, network: Any, precision: str) -> None:
    """Raise BackendError where the graph's convolutions and matrix products are not what is asked for."""
    heavy = (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    types = [layer.get_output_type(0) for layer in layers if layer.type in heavy]
    halves = sum(dtype == trt.float16 for dtype in types)
    if types and (halves > 0) == (precision == "fp32"):
        raise BackendError(
            f"precision is {precision}, but {halves} of {len(types)} convolutions and matrix products of the ONNX "
            f"graph are FP16, and this builder keeps the graph's own precision: export the model as {precision}"
        )


def _pin(trt: Any, network: Any, pinned: Sequence[str]) -> tuple[str, ...]:
    """Keep layers in FP32 by name; returns the names that no layer has (folded or fused by the parser)."""
    wanted, missing = set(pinned), set(pinned)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.name in wanted and layer.get_output_type(0) == trt.float32:
            layer.precision = trt.float32
            for output in range(layer.num_outputs):
                layer.set_output_type(output, trt.float32)
        missing.discard(layer.name)
    return tuple(sorted(missing))


def _read_timing_cache(config: Any, path: Path, listener: Listener) -> None:
    timings = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False):
        listener.log("WARNING", f"timing cache {path.name} is of another TensorRT or GPU: starting a new one")
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _write_timing_cache(config: Any, path: Path) -> None:
    write_atomically(path, memoryview(config.get_timing_cache().serialize()))


def _describe(tensors: Sequence[Any]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(tensor.name, tuple(tensor.shape), dtype_name(tensor.dtype)) for tensor in tensors)


def dtype_name(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def make_logger(trt: Any, listener: Listener) -> Any:
    """An ILogger that passes everything on."""
    methods = {
        "__init__": lambda self: trt.ILogger.__init__(self),
        "log": lambda _self, severity, message: listener.log(dtype_name(severity), message),
    }
    return type("Logger", (trt.ILogger,), methods)()


def _monitor(trt: Any, listener: Listener) -> Any:
    """An IProgressMonitor that passes everything on."""
    methods = {
        "__init__": lambda self: trt.IProgressMonitor.__init__(self),
        "phase_start": lambda _self, name, _parent, steps: listener.phase(name, steps),
        "step_complete": lambda _self, name, step: listener.step(name, step + 1),
        "phase_finish": lambda _self, name: listener.finish(name),
    }
    return type("Monitor", (trt.IProgressMonitor,), methods)()
