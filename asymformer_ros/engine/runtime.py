"""Opens an engine to serve: TensorRT's half of it, with the named tensors that all versions since 8.6 have.

Variables are named after their TensorRT class, as in `api.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from asymformer_ros.engine.api import TensorInfo, TensorRt, dtype_name, make_logger, starting
from asymformer_ros.engine.cache import KERNELS
from asymformer_ros.errors import BackendError
from asymformer_ros.system.files import write_atomically

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineFile:
    """A plan, and the library that built it. precision: which it has, for people, e.g. "fp16"."""

    plan: Path
    library: TensorRt
    precision: str

    @property
    def name(self) -> str:
        """E.g. "tensorrt 10.3 fp16"."""
        return f"{self.library.name} {'.'.join(self.library.version.split('.')[:2])} {self.precision}"

    @property
    def kernels(self) -> Path:
        """Where TensorRT-RTX keeps the kernels that it compiles at an opening; others have them in the plan."""
        return self.plan.with_name(KERNELS)


class SharedRuntime:
    """What loads a library's engines, and the words of its last error."""

    def __init__(self, library: TensorRt) -> None:
        """Raises BackendError where the library cannot start."""
        trt = library.trt
        self._words = _Words()
        with starting(library):
            self._runtime = trt.Runtime(make_logger(trt, self._words))

    def load(self, plan: bytes) -> Any:
        """An ICudaEngine, None where the plan cannot be loaded."""
        self._words.take()
        runtime = self._runtime
        return runtime.deserialize_cuda_engine(plan)

    def reason(self) -> str:
        """The last error, in brackets; "" where there was none since it was asked for."""
        words = self._words.take()
        return f" ({words})" if words else ""


@cache
def shared_runtime(library: TensorRt) -> SharedRuntime:
    """The one runtime of this process: while one is made, no other Python thread runs. Raises BackendError."""
    return SharedRuntime(library)


class TensorRtEngine:
    """See `LoadedEngine` in engine/session.py. The GPU's context must be current.

    No frame that an error travels with holds an object of TensorRT: they end in `close`, while the context is there.
    """

    def __init__(self, library: TensorRt, plan: bytes, kernels: Path | None = None) -> None:
        """kernels: see EngineFile. Raises BackendError where the plan cannot be loaded: of another version or GPU, or
        damaged, or where there is too little memory.
        """
        self._name, self._kernels = f"{library.name} {library.version}", kernels
        self._shared = shared_runtime(library)
        self._engine: Any = None
        self._context: Any = None
        self._compiled: Any = None
        self.inputs: tuple[TensorInfo, ...] = ()
        self.outputs: tuple[TensorInfo, ...] = ()
        try:
            self._open(library, plan)
        except BaseException:
            self.close()
            raise

    def bind(self, name: str, address: int) -> None:
        """See LoadedEngine."""
        context = self._context
        if not context.set_tensor_address(name, address):
            raise BackendError(f"{self._name} refuses the address of {name}{self._shared.reason()}")

    def enqueue(self, stream: int) -> None:
        """See LoadedEngine."""
        context = self._context
        if not context.execute_async_v3(stream):
            raise BackendError(f"{self._name} cannot run the engine{self._shared.reason()}")

    def why_not_captured(self, stream: int) -> str:
        """See LoadedEngine. TensorRT-RTX alone can tell beforehand."""
        context = self._context
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(stream):
            return f"{self._name} compiles some of the engine while it runs"
        return ""

    def keep_compiled(self) -> None:
        """See LoadedEngine. A file that cannot be written only makes the next opening slower."""
        runtime_cache = self._compiled
        if runtime_cache is None or self._kernels is None:
            return
        content = bytes(runtime_cache.serialize())
        try:
            if not self._kernels.is_file() or self._kernels.read_bytes() != content:
                write_atomically(self._kernels, content)
        except OSError as error:
            _log.info("%s cannot be written (%s): kernels are compiled again next time", self._kernels, error.strerror)

    def close(self) -> None:
        """See LoadedEngine: the execution context, then the engine, then the hold on the runtime."""
        self._context = None
        self._compiled = None
        self._engine = None

    def _open(self, library: TensorRt, plan: bytes) -> None:
        self._engine = self._shared.load(plan)
        if self._engine is None:
            raise BackendError(f"{self._name} cannot load the engine{self._shared.reason()}: build it again")
        self._context, self._compiled = _make_context(self._engine, self._kernels)
        if self._context is None:
            raise BackendError(f"{self._name} cannot get the engine ready{self._shared.reason()}: enough GPU memory?")
        self.inputs, self.outputs = _describe(library.trt, self._engine)


class _Words:
    """A Listener that keeps the library's last error, and logs its warnings."""

    def __init__(self) -> None:
        self._last = ""

    def phase(self, name: str, steps: int) -> None: ...

    def step(self, name: str, done: int) -> bool:
        return True

    def finish(self, name: str) -> None: ...

    def log(self, severity: str, message: str) -> None:
        if severity in ("INTERNAL_ERROR", "ERROR"):
            self._last = message.strip()
        elif severity == "WARNING":
            _log.info("TensorRT: %s", message.strip())

    def take(self) -> str:
        """The last error; from then on there is none."""
        last, self._last = self._last, ""
        return last


def _make_context(engine: Any, kernels: Path | None) -> tuple[Any, Any]:
    """An execution context, None where there can be none, and the IRuntimeCache that it fills where there is one."""
    runtime_config: Any = engine.create_runtime_config() if hasattr(engine, "create_runtime_config") else None
    if not (hasattr(runtime_config, "create_runtime_cache") and hasattr(runtime_config, "set_runtime_cache")):
        return engine.create_execution_context(), None
    runtime_cache = runtime_config.create_runtime_cache()
    _read_compiled(runtime_cache, kernels)
    runtime_config.set_runtime_cache(runtime_cache)
    return engine.create_execution_context(runtime_config), runtime_cache


def _read_compiled(runtime_cache: Any, kernels: Path | None) -> None:
    try:
        if kernels is not None and kernels.is_file() and not runtime_cache.deserialize(kernels.read_bytes()):
            _log.info("%s is of another GPU, driver or TensorRT-RTX: kernels are compiled again", kernels)
    except OSError as error:
        _log.info("%s cannot be read (%s): kernels are compiled again", kernels, error.strerror)


def _describe(trt: Any, engine: Any) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    tensors = {
        name: TensorInfo(name, tuple(engine.get_tensor_shape(name)), dtype_name(engine.get_tensor_dtype(name)))
        for name in names
    }
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return tuple(tensors[name] for name in inputs), tuple(tensors[name] for name in names if name not in inputs)
