"""A stand-in for TensorRT that has exactly the names that the bindings of one version have, and writes down its use.

It stands for versions that cannot be installed without a GPU's driver; which names they have is in the table that
`tensorrt_names.py` makes of the real bindings.
"""

from __future__ import annotations

from typing import Any

from tensorrt_names import versions_with

KNOWN = versions_with()


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
        if name.startswith("__") or self._version not in KNOWN.get(f"{self._kind}.{name}", ()):
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
    """The module. layers: (name, type, output type) of the network that any ONNX file is parsed to."""

    def __init__(self, version: str, layers: list[tuple[str, str, str]], *, timings_fit: bool = True) -> None:
        self.__version__ = version
        self._version, self._timings_fit = version, timings_fit
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
        if version in KNOWN["IProgressMonitor"]:
            self.IProgressMonitor = type("IProgressMonitor", (), {})
        self.config = self._config()
        self.context: Fake | None = self._fake(
            "IExecutionContext",
            set_tensor_address=lambda name, address: self._call("set_tensor_address", name, address),
            execute_async_v3=lambda stream: self._call("execute_async_v3", stream),
        )

    def Builder(self, logger: Any) -> Fake:  # noqa: N802
        return self._fake(
            "Builder",
            create_network=self._create_network,
            create_builder_config=lambda: self.config,
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network: Any, logger: Any) -> Fake:  # noqa: N802
        return self._fake("OnnxParser", parse_from_file=lambda path: True, num_errors=0)

    def Runtime(self, logger: Any) -> Fake:  # noqa: N802
        self.logger = logger
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
            get_output_type=lambda _: f"DataType.{dtype}",
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
            set_memory_pool_limit=lambda pool, size: self.calls.append(("limit", str(pool), size)),
            create_timing_cache=lambda content: content,
            set_timing_cache=set_timing_cache,
            get_timing_cache=lambda: timings,
            progress_monitor=None,
        )

    def _build(self, network: Any, config: Any) -> bytes:
        if self._version in KNOWN["IBuilderConfig.progress_monitor"]:
            monitor = config.progress_monitor
            monitor.phase_start("Building engine", None, 2)
            assert monitor.step_complete("Building engine", 0)
            monitor.phase_finish("Building engine")
        return b"plan"

    def _engine(self, plan: bytes) -> Fake | None:
        if plan != b"plan":
            return None
        inspector = self._fake("EngineInspector", get_engine_information=lambda form: '{"Layers": []}')
        return self._fake(
            "ICudaEngine",
            num_io_tensors=1,
            get_tensor_name=lambda _: "rgb",
            get_tensor_shape=lambda _: (1, 8, 8, 3),
            get_tensor_dtype=lambda _: "DataType.UINT8",
            get_tensor_mode=lambda _: "TensorIOMode.INPUT",
            create_engine_inspector=lambda: inspector,
            create_execution_context=lambda: self.context,
        )
