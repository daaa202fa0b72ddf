"""What NVIDIA's driver says about the GPU, asked before TensorRT is touched: without a driver TensorRT may crash."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIBRARY = "libcuda.so.1"

_NAME_LENGTH = 256
_MAJOR, _MINOR, _INTEGRATED, _MULTIPROCESSORS = 75, 76, 18, 16  # CUdevice_attribute


@dataclass(frozen=True)
class GpuInfo:
    """The first GPU that this process may use.

    compute_capability: such as (8, 7). cuda: newest CUDA that the driver can run, such as (12, 6).
    integrated: whether it shares the computer's memory, as on a Jetson. multiprocessors, memory: their number, and its
    size in bytes: the modules of one Jetson family have one name, but differ in these.
    pci_bus_id: such as "0000:01:00.0", by which NVIDIA's other libraries find it; "" where the driver does not tell.
    """

    name: str
    compute_capability: tuple[int, int]
    cuda: tuple[int, int]
    integrated: bool = False
    multiprocessors: int = 0
    memory: int = 0
    pci_bus_id: str = ""

    @property
    def capability(self) -> str:
        """Compute capability as people write it: "8.7"."""
        return ".".join(str(number) for number in self.compute_capability)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> GpuInfo:
        """Inverse of `asdict`, whose tuples JSON has made lists."""
        capability, cuda = tuple(data["compute_capability"]), tuple(data["cuda"])
        return GpuInfo(**{**data, "compute_capability": capability, "cuda": cuda})

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.capability}, driver for CUDA {self.cuda[0]}.{self.cuda[1]}"


@dataclass(frozen=True)
class NoGpu:
    """Why there is no GPU to use, in a sentence's part: "no NVIDIA driver ..."."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class _DriverError(Exception):
    pass


def probe_gpu(library: str = LIBRARY) -> GpuInfo | NoGpu:
    """Ask the driver for the first GPU. Never raises, and creates no context on the GPU."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        return NoGpu(f"no NVIDIA driver: {library} cannot be loaded ({error})")
    try:
        return _first_gpu(cuda)
    except _DriverError as failure:
        return NoGpu(str(failure))
    except AttributeError as error:
        return NoGpu(f"{library} is no NVIDIA driver: {error}")


def _first_gpu(cuda: Any) -> GpuInfo:
    _call(cuda, "cuInit", ctypes.c_uint(0))
    count = _number(cuda, "cuDeviceGetCount")
    if count < 1:
        raise _DriverError("the NVIDIA driver finds no GPU (is CUDA_VISIBLE_DEVICES empty?)")
    device = ctypes.c_int(_number(cuda, "cuDeviceGet", ctypes.c_int(0)))
    name = ctypes.create_string_buffer(_NAME_LENGTH)
    _call(cuda, "cuDeviceGetName", name, ctypes.c_int(_NAME_LENGTH), device)
    version = _number(cuda, "cuDriverGetVersion")
    major, minor, integrated, multiprocessors = (
        _number(cuda, "cuDeviceGetAttribute", ctypes.c_int(attribute), device)
        for attribute in (_MAJOR, _MINOR, _INTEGRATED, _MULTIPROCESSORS)
    )
    bus = ctypes.create_string_buffer(_NAME_LENGTH)
    if hasattr(cuda, "cuDeviceGetPCIBusId"):
        _call(cuda, "cuDeviceGetPCIBusId", bus, ctypes.c_int(_NAME_LENGTH), device)
    memory = ctypes.c_size_t(0)
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    return GpuInfo(
        name=name.value.decode(errors="replace"),
        compute_capability=(major, minor),
        cuda=(version // 1000, version % 1000 // 10),
        integrated=bool(integrated),
        multiprocessors=multiprocessors,
        memory=memory.value,
        pci_bus_id=bus.value.decode(errors="replace"),
    )


def _number(cuda: Any, function: str, *arguments: Any) -> int:
    """An int that a driver function writes through its first argument."""
    value = ctypes.c_int(0)
    _call(cuda, function, ctypes.byref(value), *arguments)
    return value.value


def _call(cuda: Any, function: str, *arguments: Any) -> None:
    code = getattr(cuda, function)(*arguments)
    if code != 0:
        raise _DriverError(f"the NVIDIA driver's {function} failed: {_error_text(cuda, code)}")


def _error_text(cuda: Any, code: int) -> str:
    text = ctypes.c_char_p()
    if hasattr(cuda, "cuGetErrorString") and cuda.cuGetErrorString(code, ctypes.byref(text)) == 0 and text.value:
        return f"{text.value.decode(errors='replace')} (CUDA error {code})"
    return f"CUDA error {code}"
