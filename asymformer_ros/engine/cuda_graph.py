"""CUDA graphs through the driver's C interface, which pycuda does not offer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from asymformer_ros.engine.driver import LIBRARY
from asymformer_ros.errors import BackendError

_THREAD_LOCAL = 1  # CUstreamCaptureMode: what other threads do with CUDA, PyTorch's for one, disturbs nothing


class CudaGraph:
    """What was put into a stream, recorded, to be launched as one. Its context must be current; see `Gpu.current`."""

    def __init__(self, stream: int, work: Callable[[], None], library: str = LIBRARY) -> None:
        """Record what `work` puts into the stream. Raises BackendError, and what `work` raises."""
        try:
            self._cuda = ctypes.CDLL(library)
        except OSError as error:
            raise BackendError(f"no NVIDIA driver: {library} cannot be loaded ({error})") from error
        self._stream = ctypes.c_void_p(stream)
        self._executable = ctypes.c_void_p()
        graph = self._record(work)
        try:
            instantiate = ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0)
            self._call("cuGraphInstantiateWithFlags", *instantiate)
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Put everything into the stream again. Raises BackendError."""
        self._call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free it. Idempotent. Raises BackendError."""
        if self._executable:
            executable, self._executable = self._executable, ctypes.c_void_p()
            self._call("cuGraphExecDestroy", executable)

    def _record(self, work: Callable[[], None]) -> ctypes.c_void_p:
        graph = ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            work()
        except BaseException:
            # Whatever it answers, the stream is an ordinary one again after it.
            self._cuda.cuStreamEndCapture(self._stream, ctypes.byref(graph))
            if graph:
                self._cuda.cuGraphDestroy(graph)
            raise
        self._call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        return graph

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            code = getattr(self._cuda, function)(*arguments)
        except AttributeError as error:
            raise BackendError(f"the NVIDIA driver is too old for CUDA graphs: it has no {function}") from error
        if code != 0:
            raise BackendError(f"{function} failed with CUDA error {code}")
