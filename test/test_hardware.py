"""What is told of the computer: its name, its memory, and a GPU's, with a stand-in for NVIDIA's library."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from asymformer_ros.engine import gauge as gauge_module
from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.engine.gauge import GpuGauge, GpuReading

_NVML = """
#include <string.h>
static char chosen[64] = "index 0";
int nvmlInit_v2(void) { return INIT; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = chosen; return index; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device) { strcpy(chosen, id); *device = chosen; return 0; }
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
  if (strcmp(device, "0000:0A:00.0")) return 1;
  memory[0] = 8000000000ull; memory[1] = 5000000000ull; memory[2] = 3000000000ull;
  return 0;
}
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *degrees) { *degrees = 54; return sensor; }
"""
T4 = GpuInfo("T4", (7, 5), (12, 6), memory=16 << 30, pci_bus_id="0000:0A:00.0")


def nvml(folder: Path, source: str = _NVML, init: int = 0) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    (folder / "nvml.c").write_text(source)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", f"-DINIT={init}", "-o", library, folder / "nvml.c"], check=True)
    return str(library)


def test_memory_and_temperature_are_those_of_the_gpu_that_serves(tmp_path: Path) -> None:
    gauge = GpuGauge(T4, nvml(tmp_path))
    assert gauge.read() == GpuReading(3_000_000_000, 8_000_000_000, 54)


def test_what_the_library_refuses_is_not_told(tmp_path: Path) -> None:
    assert GpuGauge(replace(T4, pci_bus_id=""), nvml(tmp_path)).read() == GpuReading(None, None, 54)


@pytest.mark.parametrize(("source", "init"), [(_NVML, 999), ("int nothing;", 0)], ids=["init fails", "another library"])
def test_a_library_that_does_not_work_tells_nothing(tmp_path: Path, source: str, init: int) -> None:
    assert GpuGauge(T4, nvml(tmp_path, source, init)).read() == GpuReading()


def test_without_the_library_nothing_is_told() -> None:
    assert GpuGauge(T4, "libnvidia_that_is_not_here.so").read() == GpuReading()


def test_a_jetson_tells_the_computer_s_memory_and_its_hottest_gpu_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (kind, temperature) in enumerate([("CPU-therm", "70000"), ("GPU-therm", "48500"), ("gpu-2", "off")]):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{temperature}\n")
    monkeypatch.setattr(gauge_module, "available_memory", lambda: 6 << 30)
    orin = GpuInfo("Orin", (8, 7), (12, 6), integrated=True, memory=8 << 30)
    assert GpuGauge(orin, zones=tmp_path).read() == GpuReading(2 << 30, 8 << 30, 48.5)


def test_the_computer_is_named_by_its_board_or_its_processor(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="the node's room")
    from asymformer_ros.node.hardware import computer_name

    assert computer_name(tmp_path) in ("x86_64", "aarch64", "arm64")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert computer_name(tmp_path) == "Some CPU @ 2 GHz"
    (tmp_path / "proc/device-tree").mkdir()
    (tmp_path / "proc/device-tree/model").write_text("NVIDIA Jetson Orin NX\0")
    assert computer_name(tmp_path) == "NVIDIA Jetson Orin NX"


def test_the_gpu_is_looked_at_only_where_a_backend_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asymformer_ros.node import hardware

    found: list[GpuInfo | NoGpu] = []
    monkeypatch.setattr(hardware, "probe_gpu", lambda: found.append(T4) or T4)
    monkeypatch.setattr(hardware, "GpuGauge", lambda gpu: GpuGauge(gpu, nvml(tmp_path)))
    computer = hardware.Hardware()
    assert set(computer.facts("onnxruntime cpu fp32")) == {"process memory (MB)"}
    assert float(computer.facts("torch cpu fp32")["process memory (MB)"]) > 10
    assert not found
    facts = computer.facts("tensorrt fp16")
    assert facts["GPU memory used/total (MB)"] == "3000 / 8000"
    assert facts["GPU temperature (C)"] == "54"
    assert computer.name.endswith(", T4")
    computer.facts("tensorrt fp16")
    assert len(found) == 1


def test_the_probe_of_this_machine_can_be_gauged() -> None:
    gpu = probe_gpu()
    if isinstance(gpu, GpuInfo):
        reading = GpuGauge(gpu).read()
        assert reading.used is None or 0 <= reading.used <= (reading.total or 0)
