"""Opens an engine to serve: TensorRT's half of it, with the named tensors that all versions since 8.6 have.

Variables are named after their TensorRT class, as in `api.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asymformer_ros.engine.api import Library, TensorInfo, dtype_name, make_logger
from asymformer_ros.errors import BackendError


@dataclass(frozen=True)
class EngineFile:
    """A plan, and the library that built it. precision: which it has, for people, e.g. "fp16"."""

    plan: Path
    library: Library
    precision: str

    @property
    def name(self) -> str:
        """E.g. "tensorrt 10.3 fp16"."""
        return f"{self.library.name} {'.'.join(self.library.version.split('.')[:2])} {self.precision}"


class LoadedEngine:
    """See `Engine` in engine/session.py. The GPU's context must be current."""

    def __init__(self, library: Library, plan: bytes, log: Callable[[str], None]) -> None:
        """Raises BackendError where the plan cannot be loaded: of another version or GPU, or damaged."""
        trt = library.trt
        self._name = f"{library.name} {library.version}"
        self._words = _Words(log)
        runtime = trt.Runtime(make_logger(trt, self._words))
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BackendError(f"{self._name} cannot load the engine{self._words.reason()}: build it again")
        context = engine.create_execution_context()
        if context is None:
            raise BackendError(f"{self._name} cannot get the engine ready{self._words.reason()}: enough GPU memory?")
        self._runtime, self._engine, self._context = runtime, engine, context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self.inputs = tuple(_describe(engine, name) for name in names if is_input[name])
        self.outputs = tuple(_describe(engine, name) for name in names if not is_input[name])

    def bind(self, name: str, address: int) -> None:
        """See Engine."""
        context = self._context
        if not context.set_tensor_address(name, address):
            raise BackendError(f"{self._name} refuses the address of {name}{self._words.reason()}")

    def enqueue(self, stream: int) -> None:
        """See Engine."""
        context = self._context
        if not context.execute_async_v3(stream):
            raise BackendError(f"{self._name} cannot run the engine{self._words.reason()}")

    def why_not_captured(self, stream: int) -> str:
        """See Engine. TensorRT-RTX alone can tell beforehand."""
        context = self._context
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(stream):
            return f"{self._name} compiles some of the engine while it runs"
        return ""


class _Words:
    """A Listener that keeps the library's last error, and passes warnings on."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._last = log, ""

    def phase(self, name: str, steps: int) -> None: ...

    def step(self, name: str, done: int) -> bool:
        return True

    def finish(self, name: str) -> None: ...

    def log(self, severity: str, message: str) -> None:
        if severity in ("INTERNAL_ERROR", "ERROR"):
            self._last = message.strip()
        elif severity == "WARNING":
            self._log(message.strip())

    def reason(self) -> str:
        """The last error, in brackets."""
        return f" ({self._last})" if self._last else ""


def _describe(engine: Any, name: str) -> TensorInfo:
    return TensorInfo(name, tuple(engine.get_tensor_shape(name)), dtype_name(engine.get_tensor_dtype(name)))
