"""Memory, stream and context of the GPU, by pycuda; the only module that imports it.

The context is the primary one, which PyTorch in the same process uses, too. It is entered for each piece of work and
left again: pycuda ends the process where a thread ends with a context still entered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.cuda_graph import CudaGraph
from asymformer_ros.errors import BackendError
from asymformer_ros.optional import importing

with importing("pycuda", "running engines"):
    import pycuda.driver as cuda

_NON_BLOCKING = 1  # CUstream_flags: the stream does not wait for the default stream


class PycudaGpu:
    """See `Gpu` in engine/session.py: the first GPU that this process may use."""

    def __init__(self) -> None:
        """Raises BackendError where the GPU cannot be used."""
        self.errors: tuple[type[Exception], ...] = (cuda.Error,)
        self._pinned: list[Any] = []
        self._memory: list[Any] = []
        self._graphs: list[CudaGraph] = []
        self._context: Any = None
        self._stream: Any = None
        try:
            cuda.init()
            self._context = cuda.Device(0).retain_primary_context()
            with self.current():
                self._stream = cuda.Stream(_NON_BLOCKING)
        except cuda.Error as error:
            self.close()
            raise BackendError(f"the GPU cannot be used: {error}") from error

    @property
    def stream(self) -> int:
        return int(self._stream.handle)

    @contextmanager
    def current(self) -> Iterator[None]:
        """See Gpu."""
        if self._context is None:
            raise BackendError("the GPU is closed")
        self._context.push()
        try:
            yield
        finally:
            cuda.Context.pop()

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """See Gpu."""
        array: NDArray[np.uint8] = cuda.pagelocked_empty(size, np.uint8)
        self._pinned.append(array.base)
        return array

    def allocate(self, size: int) -> int:
        """See Gpu."""
        self._memory.append(cuda.mem_alloc(size))
        return int(self._memory[-1])

    def upload(self, source: NDArray[np.uint8], address: int) -> None:
        """See Gpu."""
        cuda.memcpy_htod_async(address, source, self._stream)

    def download(self, address: int, target: NDArray[np.uint8]) -> None:
        """See Gpu."""
        cuda.memcpy_dtoh_async(target, address, self._stream)

    def synchronise(self) -> None:
        """See Gpu. Other Python threads run meanwhile."""
        self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """See Gpu."""
        graph = CudaGraph(self.stream, work)
        self._graphs.append(graph)
        return graph.launch

    def close(self) -> None:
        """See Gpu."""
        if self._context is None:
            return
        context = self._context
        try:
            with self.current():
                self._free()
        finally:
            self._context = None
            context.detach()

    def _free(self) -> None:
        try:
            for graph in self._graphs:
                graph.close()
        finally:
            for memory in self._memory:
                memory.free()
            for pinned in self._pinned:
                pinned.free()
            for kept in (self._graphs, self._memory, self._pinned):
                kept.clear()
            self._stream = None
