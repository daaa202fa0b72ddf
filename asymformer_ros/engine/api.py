"""TensorRT 8.6, 10.x, 11.x and TensorRT-RTX behind one face; the only module that imports them.

What a version lacks is asked for with `hasattr`; flags are always the enums' own values. Here, in `compiler.py`,
`layer_types.py` and `runtime.py` variables are named after their TensorRT class: so `test/test_engine_api.py` compares
each attribute with what the real bindings have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from asymformer_ros.engine.choices import BUILDERS
from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.errors import BackendError
from asymformer_ros.optional import importing, installed

_STRONG_FROM = (10, 12)  # weak typing is deprecated from there on
_LEAST = (8, 6)  # the first whose parser knows LayerNormalization


class Listener(Protocol):
    """What hears of a build's progress."""

    def phase(self, name: str, steps: int) -> None: ...

    def step(self, name: str, done: int) -> bool:
        """Return whether to go on."""

    def finish(self, name: str) -> None: ...

    def log(self, severity: str, message: str) -> None:
        """severity: INTERNAL_ERROR, ERROR, WARNING, INFO or VERBOSE."""


@dataclass(frozen=True)
class TensorRt:
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
        return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") and self.numbers >= _STRONG_FROM

    def supports(self, gpu: GpuInfo) -> bool:
        """Whether TensorRT-RTX knows the GPU's compute capability; TensorRT itself says so only when it builds."""
        if self.name != "tensorrt_rtx" or not hasattr(self.trt, "ComputeCapability"):
            return True
        return hasattr(self.trt.ComputeCapability, compute_capability_name(gpu))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The first two of the version, such as (10, 3)."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a network: dtype as TensorRT calls it, e.g. "UINT8"."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def installed_builders() -> tuple[str, ...]:
    """Those of BUILDERS that can be imported, without importing them."""
    return tuple(name for name in BUILDERS if installed(name))


def load_library(name: str) -> TensorRt:
    """Import one of BUILDERS. Raises DependencyError, which says what to install, and BackendError for an old one."""
    with importing(name, "building and running engines"):
        if name == "tensorrt":
            import tensorrt as trt
        else:
            import tensorrt_rtx as trt
    library = TensorRt(name, str(trt.__version__), trt)
    if name == "tensorrt" and library.numbers < _LEAST:
        raise BackendError(
            f"{name} {library.version} is too old: engines need TensorRT {'.'.join(map(str, _LEAST))} or newer. A "
            "Jetson has that with JetPack 6; JetPack 5 stays at 8.5: serve with torch or onnxruntime there"
        )
    return library


def compute_capability_name(gpu: GpuInfo) -> str:
    """As TensorRT-RTX spells it, such as "SM89"."""
    return f"SM{''.join(map(str, gpu.compute_capability))}"


def dtype_name(dtype: Any) -> str:
    """Of an enum's member, such as "HALF"."""
    return str(dtype).rpartition(".")[2]


@contextmanager
def starting(library: TensorRt) -> Iterator[None]:
    """Make a Builder or Runtime in this block. Raises BackendError where there comes none: the bindings' own error is
    a TypeError about a null pointer.
    """
    try:
        yield
    except TypeError as error:
        raise BackendError(
            f"{library.name} {library.version} cannot start: is the NVIDIA driver new enough, and GPU memory free?"
        ) from error


def make_logger(trt: Any, listener: Listener) -> Any:
    """An ILogger that passes everything on."""
    methods = {
        "__init__": lambda self: trt.ILogger.__init__(self),
        "log": lambda _self, severity, message: listener.log(dtype_name(severity), message),
    }
    return type("Logger", (trt.ILogger,), methods)()


def inspect_plan(library: TensorRt, plan: bytes, logger: Any) -> str:
    """The engine inspector's JSON, as TensorRT writes it. Needs the GPU that the plan is made for.

    logger: the one of this process; TensorRT takes no second one.
    Raises BackendError where the plan cannot be loaded: of another version or GPU, or damaged.
    """
    trt = library.trt
    with starting(library):
        runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError(f"{library.name} {library.version} cannot load the engine that it built")
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
