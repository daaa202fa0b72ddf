"""The computer that the node runs on, as its diagnostics tell of it. Nothing here knows ROS."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from asymformer_ros.engine.driver import GpuInfo, probe_gpu
from asymformer_ros.engine.gauge import GpuGauge

_MB = 1e6


class Hardware:
    """The names and readings of this computer, and of its GPU once a backend runs there. root: of /proc and /sys."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root, self._computer = root, computer_name(root)
        self._gpu = ""
        self._gauge: GpuGauge | None = None

    @property
    def name(self) -> str:
        """Board or processor, and the GPU that is used."""
        return f"{self._computer}, {self._gpu}" if self._gpu else self._computer

    def facts(self, backend: str) -> dict[str, str]:
        """Memory and temperature, for people. backend: name of the one that serves; its GPU is looked at."""
        if not self._gpu and ("cuda" in backend or "tensorrt" in backend):
            self._find_gpu()
        facts = {"process memory (MB)": f"{_resident(self._root) / _MB:.0f}"}
        if self._gauge is None:
            return facts
        reading = self._gauge.read()
        if reading.used is not None and reading.total is not None:
            facts["GPU memory used/total (MB)"] = f"{reading.used / _MB:.0f} / {reading.total / _MB:.0f}"
        if reading.temperature is not None:
            facts["GPU temperature (C)"] = f"{reading.temperature:.0f}"
        return facts

    def _find_gpu(self) -> None:
        gpu = probe_gpu()
        if isinstance(gpu, GpuInfo):
            self._gpu, self._gauge = gpu.name, GpuGauge(gpu)


def computer_name(root: Path = Path("/")) -> str:
    """Of the board, as a Jetson has one; else of the processor; else the machine's kind, such as x86_64."""
    try:
        return (root / "proc/device-tree/model").read_text().strip("\0 \n")
    except OSError:
        pass
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.machine()


def _resident(root: Path) -> int:
    """Bytes of this process in memory."""
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
