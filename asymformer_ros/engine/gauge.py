"""Memory and temperature of a GPU while it works, from NVIDIA's management library, or a Jetson's own files."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.system.limits import available_memory

LIBRARY = "libnvidia-ml.so.1"

_TEMPERATURE_OF_GPU = 0  # nvmlTemperatureSensors_t


@dataclass(frozen=True)
class GpuReading:
    """used, total: memory in bytes, of all programs. temperature: degrees Celsius. None where it cannot be read."""

    used: int | None = None
    total: int | None = None
    temperature: float | None = None


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class GpuGauge:
    """Reads one GPU again and again. Nothing here raises; what cannot be read is None."""

    def __init__(self, gpu: GpuInfo, library: str = LIBRARY, zones: Path = Path("/sys/class/thermal")) -> None:
        self._gpu, self._zones = gpu, zones
        self._handle = ctypes.c_void_p()
        self._nvml = None if gpu.integrated else _load(library)
        if self._nvml is not None and not self._open(self._nvml, gpu.pci_bus_id):
            self._nvml = None

    def read(self) -> GpuReading:
        """What there is now; a millisecond."""
        if self._nvml is not None:
            return self._ask(self._nvml)
        if self._gpu.integrated:  # it shares the computer's memory
            total = self._gpu.memory
            return GpuReading(max(0, total - available_memory()), total, self._zone_temperature())
        return GpuReading()

    def _open(self, nvml: ctypes.CDLL, pci_bus_id: str) -> bool:
        handle = ctypes.byref(self._handle)
        try:
            if nvml.nvmlInit_v2() != 0:
                return False
            if pci_bus_id:
                return bool(nvml.nvmlDeviceGetHandleByPciBusId_v2(pci_bus_id.encode(), handle) == 0)
            return bool(nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(0), handle) == 0)
        except AttributeError:  # some other library of that name
            return False

    def _ask(self, nvml: ctypes.CDLL) -> GpuReading:
        memory, temperature = _Memory(), ctypes.c_uint()
        try:
            known = nvml.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory)) == 0
            warm = nvml.nvmlDeviceGetTemperature(
                self._handle, ctypes.c_int(_TEMPERATURE_OF_GPU), ctypes.byref(temperature)
            )
        except AttributeError:
            return GpuReading()
        return GpuReading(
            memory.used if known else None, memory.total if known else None, temperature.value if warm == 0 else None
        )

    def _zone_temperature(self) -> float | None:
        """Of the hottest thermal zone that is named after the GPU, such as gpu-thermal."""
        found = []
        for zone in self._zones.glob("thermal_zone*"):
            try:
                if "gpu" in (zone / "type").read_text().lower():
                    found.append(int((zone / "temp").read_text()) / 1000)
            except (OSError, ValueError):  # a zone that is switched off cannot be read
                continue
        return max(found, default=None)


def _load(library: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(library)
    except OSError:
        return None
