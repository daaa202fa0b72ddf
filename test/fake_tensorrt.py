"""A stand-in for TensorRT that has exactly the names that the bindings of one version have, and writes down its use.

It stands for versions that cannot be installed without a GPU's driver; which names they have is in the table that
`tensorrt_names.py` makes of the real bindings.
"""

from __future__ import annotations

import importlib
import weakref
from pathlib import Path
from typing import Any

from tensorrt_names import has_name, versions_with

from asymformer_ros.engine.api import TensorRt
from asymformer_ros.engine.compiler import CompiledPlan, compile_plan
from asymformer_ros.engine.options import BuildOptions

KNOWN = versions_with()
RTX = "tensorrt_rtx"
"""Given as a version: the names are those of the module that is installed here."""


FLOAT_LAYERS = [
    ("/preprocess/Mul", "ELEMENTWISE", "FLOAT"),
    ("/stem/Conv", "CONVOLUTION", "FLOAT"),
    ("/preprocess/Shape", "SHAPE", "INT32"),
    ("/classify/ArgMax", "TOPK", "FLOAT"),
]
HALF_LAYERS = [*FLOAT_LAYERS[:1], ("/stem/Conv", "CONVOLUTION", "HALF")]


def known(name: str, version: str) -> bool:
    """Whether a version has a name such as "Builder.create_network"."""
    if version == RTX:
        return has_name(importlib.import_module(RTX), name)
    return version in KNOWN.get(name, ())


class Fake:
    """An object of a TensorRT class: whatever the version lacks is no attribute of it."""

    def __init__(self, kind: str, version: str, **values: Any) -> None:
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_version", version)
        object.__setattr__(self, "_values", values)

    def __getattr__(self, name: str) -> Any:
        self._check(name)
        if name not in self._values:
            raise AttributeError(f"{self._kind}.{name} was never given")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._check(name)
        self._values[name] = value

    def _check(self, name: str) -> None:
        if name.startswith("__") or not known(f"{self._kind}.{name}", self._version):
            raise AttributeError(f"TensorRT {self._version} has no {self._kind}.{name}")


class Enum(Fake):
    """Members are their own names, and numbers where one is asked for."""

    def __getattr__(self, name: str) -> Any:
        self._check(name)
        return Member(f"{self._kind}.{name}")


class Member(str):
    """E.g. "BuilderFlag.FP16"."""

    __slots__ = ()

    def __int__(self) -> int:
        return {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}[self.rpartition(".")[2]]


class FakeTensorRt:
    """The module. layers: (name, type, output type) of the network that any ONNX file is parsed to.

    Like the real one it says FLOAT of every layer that nobody has set a type of, unless `tells_types`.
    """

    def __init__(self, version: str, layers: list[tuple[str, str, str]], *, timings_fit: bool = True) -> None:
        self.__version__ = version
        self._version, self._timings_fit = version, timings_fit
        self.tells_types = False
        self.timings_made = True
        self.parses = self.builds = self.has_context = True
        self.complaints: list[tuple[str, str]] = []
        self.inspected = '{"Layers": []}'
        self.runtimes = 0
        self.compiled = b""
        self.float32, self.float16 = "DataType.FLOAT", "DataType.HALF"
        self.calls: list[Any] = []
        self.works = True
        self.logger: Any = None
        self.layers = [self._layer(*layer) for layer in layers]
        for enum in (
            "BuilderFlag",
            "LayerInformationFormat",
            "LayerType",
            "MemoryPoolType",
            "NetworkDefinitionCreationFlag",
            "ProfilingVerbosity",
            "TensorIOMode",
        ):
            setattr(self, enum, Enum(enum, version))
        self.ILogger = type("ILogger", (), {})
        for name in ("IProgressMonitor", "ComputeCapability"):
            if known(name, version):
                setattr(self, name, Enum(name, version) if name == "ComputeCapability" else type(name, (), {}))
        self.config = self._config()

    def Builder(self, logger: Any) -> Fake:  # noqa: N802
        self.logger = logger
        return self._fake(
            "Builder",
            create_network=self._create_network,
            create_builder_config=lambda: self.config,
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network: Any, logger: Any) -> Fake:  # noqa: N802
        error = self._fake("ParserError", desc=lambda: "No importer registered for op: LayerNormalization")
        return self._fake(
            "OnnxParser",
            parse_from_file=lambda path: self.parses,
            num_errors=int(not self.parses),
            get_error=lambda _: error,
        )

    def Runtime(self, logger: Any) -> Fake:  # noqa: N802
        self.logger = logger
        self.runtimes += 1
        return self._fake("Runtime", deserialize_cuda_engine=self._engine)

    def _call(self, *call: Any) -> bool:
        self.calls.append(call)
        return self.works

    def _fake(self, kind: str, **values: Any) -> Fake:
        return Fake(kind, self._version, **values)

    def _layer(self, name: str, kind: str, dtype: str) -> Fake:
        def set_output_type(index: int, dtype: str) -> None:
            self.calls.append(("set_output_type", name, index, dtype))

        return self._fake(
            "ILayer",
            name=name,
            type=f"LayerType.{kind}",
            num_outputs=1,
            get_output=lambda _: self._fake("ITensor", name=name, shape=(1,), dtype=f"DataType.{dtype}"),
            get_output_type=lambda _: f"DataType.{dtype if self.tells_types else 'FLOAT'}",
            set_output_type=set_output_type,
        )

    def _create_network(self, flags: int) -> Fake:
        self.calls.append(("create_network", flags))
        tensor = self._fake("ITensor", name="rgb", shape=(1, 8, 8, 3), dtype="DataType.UINT8")
        return self._fake(
            "INetworkDefinition",
            num_inputs=1,
            num_outputs=1,
            get_input=lambda _: tensor,
            get_output=lambda _: tensor,
            num_layers=len(self.layers),
            get_layer=self.layers.__getitem__,
        )

    def _config(self) -> Fake:
        def set_timing_cache(cache: bytes, ignore_mismatch: bool) -> bool:
            self.calls.append(("set_timing_cache", cache))
            return self._timings_fit or cache == b""

        timings = self._fake("ITimingCache", serialize=lambda: b"timings")
        return self._fake(
            "IBuilderConfig",
            set_flag=lambda flag: self.calls.append(("set_flag", str(flag))),
            clear_flag=lambda flag: self.calls.append(("clear_flag", str(flag))),
            set_compute_capability=lambda which, index: self._call("set_compute_capability", str(which), index),
            set_memory_pool_limit=lambda pool, size: self.calls.append(("limit", str(pool), size)),
            create_timing_cache=lambda content: content if self.timings_made or content == b"" else None,
            set_timing_cache=set_timing_cache,
            get_timing_cache=lambda: timings,
            progress_monitor=None,
            num_compute_capabilities=0,
        )

    def _build(self, network: Any, config: Any) -> bytes | None:
        for severity, message in self.complaints:
            self.logger.log(f"Severity.{severity}", message)
        if known("IBuilderConfig.progress_monitor", self._version):
            monitor = config.progress_monitor
            monitor.phase_start("Building engine", None, 2)
            assert monitor.step_complete("Building engine", 0)
            monitor.phase_finish("Building engine")
        return b"plan" if self.builds else None

    def _engine(self, plan: bytes) -> Fake | None:
        if plan != b"plan":
            return None
        inspector = self._fake("EngineInspector", get_engine_information=lambda form: self.inspected)
        return self._mortal(
            "ICudaEngine",
            num_io_tensors=1,
            get_tensor_name=lambda _: "rgb",
            get_tensor_shape=lambda _: (1, 8, 8, 3),
            get_tensor_dtype=lambda _: "DataType.UINT8",
            get_tensor_mode=lambda _: "TensorIOMode.INPUT",
            create_engine_inspector=lambda: inspector,
            create_execution_context=self._context,
            create_runtime_config=self._runtime_config,
        )

    def _context(self, runtime_config: Any = None) -> Fake | None:
        if not self.has_context:
            return None
        self.compiled += b"kernel"
        return self._mortal(
            "IExecutionContext",
            set_tensor_address=lambda name, address: self._call("set_tensor_address", name, address),
            execute_async_v3=lambda stream: self._call("execute_async_v3", stream),
            is_stream_capturable=lambda stream: True,
        )

    def _runtime_config(self) -> Fake:
        runtime_cache = self._fake("IRuntimeCache", serialize=lambda: self.compiled, deserialize=self._deserialize)
        return self._fake(
            "IRuntimeConfig",
            create_runtime_cache=lambda: runtime_cache,
            set_runtime_cache=lambda cache: self._call("set_runtime_cache"),
        )

    def _deserialize(self, content: bytes) -> bool:
        fits = content.startswith(b"kernel")
        self.compiled = content if fits else b""
        return self._call("deserialize", content) and fits

    def _mortal(self, kind: str, **values: Any) -> Fake:
        """An object whose end is a call, too."""
        made = self._fake(kind, **values)
        weakref.finalize(made, self.calls.append, ("end", kind))
        return made


class Heard:
    """A Listener that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def phase(self, name: str, steps: int) -> None:
        self.events.append(("phase", name, steps))

    def step(self, name: str, done: int) -> bool:
        self.events.append(("step", name, done))
        return True

    def finish(self, name: str) -> None:
        self.events.append(("finish", name))

    def log(self, severity: str, message: str) -> None:
        self.events.append((severity, message))


def build(trt: FakeTensorRt, options: BuildOptions, heard: Heard | None = None) -> CompiledPlan:
    library = TensorRt(options.builder, trt.__version__, trt)
    return compile_plan(library, Path("model.onnx"), options, heard or Heard())


def flags(trt: FakeTensorRt) -> list[str]:
    return [call[1] for call in trt.calls if call[0] == "set_flag"]
