"""How an engine runs on a GPU: one block of memory each way, one copy each way, and a CUDA graph of all three steps.

The library that runs the engine and the one that moves memory stand behind two protocols.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.api import TensorInfo
from asymformer_ros.errors import BackendError

_log = logging.getLogger(__name__)

_ALIGNMENT = 256  # bytes, what cudaMalloc itself gives and TensorRT asks for
_TYPES = {"UINT8": np.uint8, "FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32}


class Gpu(Protocol):
    """One CUDA context with one stream. Used by one thread; addresses and sizes in bytes."""

    @property
    def stream(self) -> int:
        """Handle of the stream, in whose order everything below happens."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What it raises where CUDA fails."""

    def current(self) -> AbstractContextManager[None]:
        """While it is entered, the context is the thread's own; all else needs that."""

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """Host memory (size,) that copies go to and from without a stop on the way."""

    def allocate(self, size: int) -> int:
        """Address of new memory of the GPU."""

    def upload(self, source: NDArray[np.uint8], address: int) -> None: ...

    def download(self, address: int, target: NDArray[np.uint8]) -> None: ...

    def synchronise(self) -> None:
        """Wait until the stream has done everything."""

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` puts into the stream; what comes back does it all again."""

    def close(self) -> None:
        """Free all memory, recordings and the stream. Idempotent; not while the context is entered."""


class LoadedEngine(Protocol):
    """An engine that is on the GPU, with its execution context. The GPU's context is current whenever it is used."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]: ...

    def bind(self, name: str, address: int) -> None:
        """Where a tensor lies on the GPU. Raises BackendError."""

    def enqueue(self, stream: int) -> None:
        """Put one run into the stream. Raises BackendError."""

    def why_not_captured(self, stream: int) -> str:
        """The reason for which a run cannot be recorded, "" where it can."""

    def keep_compiled(self) -> None:
        """Keep for the next opening what the first run has compiled, where it has. Never raises."""

    def close(self) -> None:
        """Give back all that it has on the GPU, whoever still holds it. Idempotent; nothing else works afterwards."""


@dataclass(frozen=True)
class _Block:
    """Tensors that lie one behind the other, on the host and on the GPU alike."""

    host: NDArray[np.uint8]
    address: int
    views: Mapping[str, NDArray[Any]]

    @staticmethod
    def of(gpu: Gpu, engine: LoadedEngine, tensors: Sequence[TensorInfo]) -> _Block:
        offsets, size = _layout(tensors)
        host, address = gpu.pinned(size), gpu.allocate(size)
        host[:] = 0
        views = {}
        for tensor, offset in zip(tensors, offsets, strict=True):
            raw = host[offset : offset + _bytes(tensor)]
            views[tensor.name] = raw.view(_TYPES[tensor.dtype]).reshape(tensor.shape)
            engine.bind(tensor.name, address + offset)
        return _Block(host, address, views)


_NOTHING = _Block(np.zeros(0, np.uint8), 0, {})


class GpuSession:
    """See `Session` in inference/tensorrt.py. Every method is called by the thread that opened it."""

    def __init__(self, gpu: Gpu, load: Callable[[], LoadedEngine], *, use_graph: bool = True) -> None:
        """load: called with the context entered. use_graph: False launches each step by itself. Raises BackendError."""
        self._gpu = gpu
        self._failures: tuple[type[Exception], ...] = (BackendError, *gpu.errors)
        self._engine: LoadedEngine | None = None
        self._in = self._out = _NOTHING
        self._launch: Callable[[], None] = self._refuse
        self._finished = False
        try:
            with self._working():
                self._open(load(), use_graph)
        except BaseException:
            self.close()
            raise

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        return self._in.views

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        return self._out.views

    def run(self) -> None:
        """Upload, compute, download, and wait for it. Raises BackendError."""
        with self._working():
            self._launch()
            self._gpu.synchronise()

    def close(self) -> None:
        """Free the engine while its context is there, then memory and context. Idempotent; failures are logged."""
        if self._finished:
            return
        self._finished, self._launch = True, self._refuse
        self._in = self._out = _NOTHING
        try:
            self._free()
        except self._failures as error:
            _log.warning("the GPU's memory may not be free: %s", error)

    def _free(self) -> None:
        try:
            with self._gpu.current():
                engine, self._engine = self._engine, None
                if engine is not None:
                    engine.close()
        finally:
            self._gpu.close()

    def _open(self, engine: LoadedEngine, use_graph: bool) -> None:
        self._engine = engine
        self._in = _Block.of(self._gpu, engine, engine.inputs)
        self._out = _Block.of(self._gpu, engine, engine.outputs)
        self._try(self._enqueue)  # before a capture: an engine's first run allocates
        engine.keep_compiled()
        if use_graph and not self._open_graph(engine):
            self._try(self._enqueue)

    def _open_graph(self, engine: LoadedEngine) -> bool:
        try:
            reason = engine.why_not_captured(self._gpu.stream)
            if not reason:
                self._try(self._gpu.capture(self._enqueue))
                return True
        except self._failures as error:
            reason = str(error)
        _log.warning("no CUDA graph, each step is launched by itself: %s", reason)
        return False

    def _try(self, launch: Callable[[], None]) -> None:
        self._launch = launch
        launch()
        self._gpu.synchronise()

    def _enqueue(self) -> None:
        self._gpu.upload(self._in.host, self._in.address)
        if self._engine is not None:
            self._engine.enqueue(self._gpu.stream)
        self._gpu.download(self._out.address, self._out.host)

    def _refuse(self) -> None:
        raise BackendError("the engine is closed")

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            with self._gpu.current():
                yield
        except self._gpu.errors as error:
            raise BackendError(f"the GPU failed: {error}") from error


def _layout(tensors: Sequence[TensorInfo]) -> tuple[list[int], int]:
    """Offset of each tensor, and the size of all. Raises BackendError for a type or shape that cannot be laid out."""
    offsets, size = [], 0
    for tensor in tensors:
        if tensor.dtype not in _TYPES or min(tensor.shape, default=1) < 1:
            raise BackendError(
                f"the engine's tensor {tensor.name} is {tensor.dtype} {tensor.shape}: expected a fixed size and one "
                f"of {', '.join(_TYPES)}"
            )
        offsets.append(size)
        size += -(-_bytes(tensor) // _ALIGNMENT) * _ALIGNMENT
    return offsets, size


def _bytes(tensor: TensorInfo) -> int:
    return prod(tensor.shape) * np.dtype(_TYPES[tensor.dtype]).itemsize
