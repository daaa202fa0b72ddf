"""The driver probe, with a stand-in for NVIDIA's library that a C compiler makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu

_DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Orin", length); return device != 7; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18 ? 1 : attribute == 16 ? 16 : -1;
  return device != 7;
}
int cuDeviceGetPCIBusId(char *id, int length, int device) { strncpy(id, "0000:01:00.0", length); return device != 7; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 65536ul << 20; return device != 7; }
int cuGetErrorString(int code, const char **text) { *text = "no CUDA-capable device is detected"; return 0; }
"""


def _driver(folder: Path, init: int = 0, count: int = 1, source: str = _DRIVER) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    (folder / "cuda.c").write_text(source)
    library = folder / "libcuda.so.1"
    options = ["-shared", "-fPIC", f"-DINIT={init}", f"-DCOUNT={count}"]
    subprocess.run(["gcc", *options, "-o", library, folder / "cuda.c"], check=True)
    return str(library)


def test_without_a_driver_the_reason_names_its_library() -> None:
    found = probe_gpu("libcuda_that_is_not_here.so.1")
    assert isinstance(found, NoGpu)
    assert found.reason.startswith("no NVIDIA driver: libcuda_that_is_not_here.so.1 cannot be loaded")


def test_the_probe_of_this_machine_answers() -> None:
    assert isinstance(probe_gpu(), GpuInfo | NoGpu)


def test_a_gpu_is_described(tmp_path: Path) -> None:
    gpu = probe_gpu(_driver(tmp_path))
    assert gpu == GpuInfo("Orin", (8, 7), (12, 6), True, 16, 65536 << 20, pci_bus_id="0000:01:00.0")
    assert str(gpu) == "Orin, compute capability 8.7, driver for CUDA 12.6"


def test_a_failing_driver_is_quoted(tmp_path: Path) -> None:
    found = probe_gpu(_driver(tmp_path, init=100))
    text = "the NVIDIA driver's cuInit failed: no CUDA-capable device is detected (CUDA error 100)"
    assert found == NoGpu(text)


def test_a_driver_without_a_gpu_is_no_gpu(tmp_path: Path) -> None:
    found = probe_gpu(_driver(tmp_path, count=0))
    assert found == NoGpu("the NVIDIA driver finds no GPU (is CUDA_VISIBLE_DEVICES empty?)")


def test_a_library_that_is_no_driver_is_no_gpu(tmp_path: Path) -> None:
    found = probe_gpu(_driver(tmp_path, source="int nothing(void) { return 0; }"))
    assert isinstance(found, NoGpu)
    assert "is no NVIDIA driver" in found.reason


def test_the_probe_imports_no_library_of_nvidias_or_torch() -> None:
    code = (
        "import sys, asymformer_ros.engine.driver as driver; driver.probe_gpu(); "
        "print([name for name in ('torch', 'tensorrt', 'tensorrt_rtx', 'onnx') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout.strip() == "[]"
