"""Stand-ins for a GPU and an engine: memory is an array, and what is put into the stream is written down and done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from asymformer_ros.engine.api import TensorInfo
from asymformer_ros.errors import BackendError


class CudaError(Exception):
    """What pycuda's own error is in the real one."""


class FakeGpu:
    """A `Gpu` whose memory starts at address 4096. can_capture: whether it has CUDA graphs."""

    def __init__(self, *, can_capture: bool = True) -> None:
        self.errors: tuple[type[Exception], ...] = (CudaError,)
        self.stream = 77
        self.can_capture = can_capture
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.blocks: dict[int, np.ndarray] = {}
        self.entered = self.closed = 0
        self._free_from = 4096
        self.fails_in = ""

    @contextmanager
    def current(self) -> Iterator[None]:
        self.entered += 1
        try:
            yield
        finally:
            self.entered -= 1

    def pinned(self, size: int) -> np.ndarray:
        self._do("pinned")
        return np.full(size, 99, np.uint8)

    def allocate(self, size: int) -> int:
        self._do("allocate")
        address = self._free_from
        self.blocks[address] = np.full(size, 98, np.uint8)
        self._free_from += size + 4096
        return address

    def memory(self, address: int, size: int) -> np.ndarray:
        """A view of what lies at an address."""
        start = max(block for block in self.blocks if block <= address)
        assert address + size <= start + self.blocks[start].size
        return self.blocks[start][address - start :][:size]

    def upload(self, source: np.ndarray, address: int) -> None:
        self._do("upload")
        self.memory(address, source.size)[:] = source

    def download(self, address: int, target: np.ndarray) -> None:
        self._do("download")
        target[:] = self.memory(address, target.size)

    def synchronise(self) -> None:
        self._do("synchronise")

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self._do("capture")
        if not self.can_capture:
            raise BackendError("cuStreamEndCapture failed with CUDA error 901")

        def launch() -> None:
            self._do("launch")
            work()

        return launch

    def close(self) -> None:
        assert self.entered == 0
        self.closed += 1
        self.blocks.clear()

    def _do(self, call: str) -> None:
        assert self.entered == 1, "nothing is done outside of the context"
        self.calls.append(call)
        self.threads.add(threading.get_ident())
        if call == self.fails_in:
            raise CudaError(f"{call} failed: an illegal memory access was encountered")


class FakeEngine:
    """A `LoadedEngine` over camera images: a pixel's label is its red, its confidence the low byte of its depth."""

    def __init__(self, gpu: FakeGpu, inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.addresses: dict[str, int] = {}
        self.reason = ""
        self._gpu = gpu

    @staticmethod
    def of_camera(gpu: FakeGpu, batch: int, size: tuple[int, int]) -> FakeEngine:
        rgb, depth = (TensorInfo(name, (batch, *size, last), "UINT8") for name, last in (("rgb", 3), ("depth", 2)))
        labels, confidence = (TensorInfo(name, (batch, *size), "UINT8") for name in ("labels", "confidence"))
        return FakeEngine(gpu, (depth, rgb), (labels, confidence))

    def bind(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def enqueue(self, stream: int) -> None:
        assert stream == self._gpu.stream
        self._gpu._do("execute")
        if self.outputs[0].dtype == "FLOAT":
            self._logits()
            return
        self._array(self.outputs[0])[:] = self._named("rgb")[..., 0]
        self._array(self.outputs[1])[:] = self._named("depth")[..., 0]

    def why_not_captured(self, stream: int) -> str:
        return self.reason

    def keep_compiled(self) -> None:
        self._gpu._do("keep_compiled")

    def close(self) -> None:
        self._gpu._do("close_engine")

    def _logits(self) -> None:
        """The logits are the three colours and the low byte of depth, as they come."""
        images = np.concatenate((self._named("rgb"), self._named("depth")[..., :1]), axis=-1)
        self._array(self.outputs[0])[:] = images.transpose(0, 3, 1, 2)

    def _named(self, name: str) -> np.ndarray:
        return self._array(next(tensor for tensor in self.inputs if tensor.name == name))

    def _array(self, tensor: TensorInfo) -> np.ndarray:
        dtype = np.dtype({"UINT8": np.uint8, "FLOAT": np.float32}[tensor.dtype])
        size = int(np.prod(tensor.shape)) * dtype.itemsize
        return self._gpu.memory(self.addresses[tensor.name], size).view(dtype).reshape(tensor.shape)
