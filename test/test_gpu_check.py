"""`scripts/gpu_check` as far as it goes without a GPU: it says so, parts end in time, and results become a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import gpu_check

from asymformer_ros.engine.driver import NoGpu, probe_gpu

SPEED = {"runs": 500, "p50_ms": 1.5, "p95_ms": 2.0, "p99_ms": 2.5, "fps": 600.0, "agreement": 0.9991}
RESULTS = {
    "gpu": "NVIDIA H200 (test)",
    "driver_cuda": "12.8",
    "python": "3.12.3",
    "versions": {"torch": "2.8.0", "pycuda": "not installed"},
    "model": "untrained_full",
    "date": "2026-01-02T03:04:05+00:00",
    "parts": {
        "torch_fp16": {**SPEED, "used_memory_mib": 900.0},
        "tensorrt_fp16": {**SPEED, "used_memory_mib": None, "refused": "only 90.00% of its labels"},
        "tensorrt_mixed": {"reason": "BackendError: pycuda cannot be imported"},
        "tests": {"summary": "9 passed"},
    },
}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    command = [ROOT / "scripts" / "gpu_check", "--output", tmp_path / "results"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("nothing to check, and nothing written: no NVIDIA driver")
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_executed() -> None:
    assert os.access(ROOT / "scripts" / "gpu_check", os.X_OK)


def test_the_last_line_of_a_part_is_its_answer() -> None:
    answer = gpu_check.run_part(python("print('noise'); print('{\"fps\": 3}')"), dict(os.environ), 60)
    assert answer == {"fps": 3}


@pytest.mark.parametrize(
    ("code", "limit", "reason"),
    [
        ("import time; time.sleep(60)", 1.0, "it took longer than 1 s"),
        ("import os; print('half'); os._exit(3)", 60.0, "its process ended with code 3: half"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 60.0, "its process ended with code -11"),
        ("", 0.0, "no time is left"),
    ],
)
def test_a_part_that_hangs_or_crashes_is_a_reason(code: str, limit: float, reason: str) -> None:
    assert gpu_check.run_part(python(code), dict(os.environ), limit)["reason"].startswith(reason)


def test_every_part_without_a_gpu_answers_with_the_reason(tmp_path: Path) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    environment = gpu_check._environment(None, tmp_path)
    answer = gpu_check.run_part(gpu_check._command("torch_fp32", "untrained", str(tmp_path)), environment, 100)
    assert answer["reason"].startswith("no NVIDIA driver")


def test_every_part_has_a_program() -> None:
    import gpu_parts

    assert set(gpu_parts.PARTS) == set(gpu_check.LIMITS) - {"tests"}
    assert set(gpu_check.TITLES) <= set(gpu_parts.PARTS)
    assert gpu_check.TOTAL < 600


def test_results_are_written_as_json_and_as_a_table(tmp_path: Path) -> None:
    gpu_check.write(RESULTS, tmp_path / "results")
    assert json.loads((tmp_path / "results" / "nvidia_h200_test.json").read_text()) == RESULTS
    text = (tmp_path / "results" / "nvidia_h200_test.md").read_text()
    assert "| PyTorch eager, FP16 | 1.50 | 2.00 | 2.50 | 600.0 | 900 | 99.910% |" in text
    assert "| TensorRT, FP16 | 1.50 | 2.00 | 2.50 | 600.0 | ? | 99.910% |" in text
    assert "* tensorrt_mixed: BackendError: pycuda cannot be imported" in text
    assert "* tensorrt_fp16: must not serve: only 90.00% of its labels" in text
    assert "* tests: 9 passed" in text


def test_libraries_of_a_folder_are_there_before_all_else(tmp_path: Path) -> None:
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "tensorrt.py").write_text("__version__ = '10.0'\n")
    environment = gpu_check._environment(libraries, tmp_path)
    code = "import sys, json; print(json.dumps({'there': 'tensorrt' in sys.modules}))"
    assert gpu_check.run_part(python(code), environment, 60) == {"there": True}
