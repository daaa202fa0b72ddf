"""`scripts/gpu_check` without a GPU: its parts end in time, a second run goes on, and results become a report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import gpu_check
import gpu_parts
import gpu_questions
import gpu_report
import gpu_speeds
from gpu_libraries import environment_for

from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu

SPEED = {"runs": 500, "p50_ms": 1.5, "p95_ms": 2.0, "p99_ms": 2.5, "fps": 600.0, "agreement": 0.9991}
RESULTS = {
    "gpu": "NVIDIA H200 (test)",
    "driver_cuda": "12.8",
    "python": "3.12.3",
    "versions": {"torch": "2.8.0", "pycuda": "not installed"},
    "model": "untrained_full",
    "date": "2026-01-02T03:04:05+00:00",
    "parts": {
        "build": {**SPEED, "used_memory_mib": 700.0, "build_seconds": 1234.5, "inspected": '{"Layers": []}'},
        "pins_obey": {"skipped": "no layer of this graph is pinned"},
        "torch_fp16": {**SPEED, "used_memory_mib": 900.0},
        "tensorrt_fp16": {**SPEED, "used_memory_mib": None, "refused": "only 90.00% of its labels"},
        "tensorrt_mixed": {"reason": "BackendError: pycuda cannot be imported"},
        "tests": {"summary": "9 passed"},
    },
}
ORIN = GpuInfo("Orin", (8, 7), (12, 6), integrated=True)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    command = [ROOT / "scripts" / "gpu_check", "--output", tmp_path / "results", "--folder", tmp_path / "kept"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("nothing to check, and nothing written: no NVIDIA driver")
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_executed() -> None:
    assert os.access(ROOT / "scripts" / "gpu_check", os.X_OK)


def test_the_last_line_of_a_part_is_its_answer() -> None:
    answer = gpu_check.run_part(python("print('noise'); print('{\"fps\": 3}')"), dict(os.environ), None)
    assert answer == {"fps": 3}


@pytest.mark.parametrize(
    ("code", "limit", "reason"),
    [
        ("import time; time.sleep(60)", 1.0, "the time was over meanwhile: start it again to go on"),
        ("import os; print('half'); os._exit(3)", None, "its process ended with code 3: half"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", None, "its process ended with code -11"),
        ("", 0.0, "no time is left: start it again to go on"),
    ],
)
def test_a_part_that_has_no_time_or_crashes_is_a_reason(code: str, limit: float | None, reason: str) -> None:
    assert gpu_check.run_part(python(code), dict(os.environ), limit)["reason"].startswith(reason)


@pytest.mark.parametrize("part", ["torch_fp32", "build", "swap"])
def test_every_part_without_a_gpu_answers_with_the_reason(tmp_path: Path, part: str) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    command = gpu_check._command(part, "untrained", tmp_path, None)
    answer = gpu_check.run_part(command, environment_for(None, tmp_path), 100)
    assert answer["reason"].startswith("no NVIDIA driver")


def test_every_part_has_a_program_and_builds_and_tests_come_before_the_speeds() -> None:
    assert set(gpu_parts.PARTS) == {*gpu_check.QUESTIONS, *gpu_check.SPEEDS} - {"tests"}
    assert set(gpu_report.TITLES) <= set(gpu_speeds.SPEEDS)
    assert set(gpu_report.VARIANTS) <= set(gpu_questions.QUESTIONS)
    assert gpu_check.QUESTIONS[0] == "build"
    assert "tests" in gpu_check.QUESTIONS


class Run:
    """`gpu_check` on a GPU that is not there, whose parts answer what they are told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.asked = folder, list[str]()
        self.limits: list[float | None] = []
        self.answers: dict[str, Any] = {}
        monkeypatch.setattr(gpu_check, "probe_gpu", lambda: ORIN)
        monkeypatch.setattr(gpu_check, "run_part", self._answer)

    def __call__(self, *arguments: str) -> int:
        self.asked.clear()
        return gpu_check.main(["--folder", f"{self.folder}/kept", "--output", f"{self.folder}/results", *arguments])

    def _answer(self, command: list[str], environment: dict[str, str], seconds: float | None) -> dict[str, Any]:
        part = "tests" if "pytest" in command else command[2]
        self.asked.append(part)
        self.limits.append(seconds)
        (self.folder / "kept" / part).mkdir(exist_ok=True)
        answer = self.answers.get(part, {"summary": part})
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


ALL = [*gpu_check.QUESTIONS, *gpu_check.SPEEDS]


def test_no_part_has_a_limit_unless_one_is_given(run: Run) -> None:
    assert run() == 0
    assert run.asked == ALL
    assert set(run.limits) == {None}
    run.limits.clear()
    assert run("--again", "--minutes", "30") == 0
    assert all(limit is not None and 1700 < limit <= 1800 for limit in run.limits)


def test_a_run_that_was_stopped_goes_on_where_it_was(run: Run) -> None:
    run.answers["profile"] = KeyboardInterrupt()
    assert run() == 1
    assert run.asked == ALL[: ALL.index("profile") + 1]
    run.answers.clear()
    assert run() == 0
    assert run.asked == ALL[ALL.index("profile") :]
    assert run() == 0
    assert run.asked == []


def test_a_part_that_failed_is_tried_again_and_keeps_what_it_had_built(run: Run) -> None:
    run.answers["tf32_on"] = {"reason": "the time was over meanwhile"}
    assert run() == 1
    (run.folder / "kept" / "tf32_on" / "engine.plan").touch()
    run.answers.clear()
    assert run() == 0
    assert run.asked == ["tf32_on"]
    assert (run.folder / "kept" / "tf32_on" / "engine.plan").exists()


def test_a_part_that_is_asked_for_again_builds_anew(run: Run) -> None:
    assert run() == 0
    (run.folder / "kept" / "build" / "engine.plan").touch()
    assert run("--again", "build", "tests") == 0
    assert run.asked == ["build", "tests"]
    assert not (run.folder / "kept" / "build" / "engine.plan").exists()
    assert run("--again") == 0
    assert run.asked == ALL


def test_answers_about_another_driver_or_version_are_not_taken_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run() == 0
    monkeypatch.setattr(gpu_check, "__version__", "99.0")
    assert run() == 0
    assert run.asked == ALL


def test_a_damaged_record_is_begun_anew(run: Run) -> None:
    assert run() == 0
    (run.folder / "kept" / "results.json").write_text("{")
    assert run() == 0
    assert run.asked == ALL


def test_results_are_written_as_json_and_as_a_report_and_the_inspectors_text_as_it_came(tmp_path: Path) -> None:
    gpu_check.write(RESULTS, tmp_path)
    written = json.loads((tmp_path / "nvidia_h200_test.json").read_text())
    assert "inspected" not in written["parts"].pop("build")
    assert written["parts"] == {part: answer for part, answer in RESULTS["parts"].items() if part != "build"}
    assert (tmp_path / "nvidia_h200_test.inspector.json").read_text() == '{"Layers": []}'
    text = (tmp_path / "nvidia_h200_test.md").read_text()
    assert "| PyTorch eager, FP16 | 1.50 | 2.00 | 2.50 | 600.0 | 900 | 99.910% |" in text
    assert "| TensorRT, FP16 | 1.50 | 2.00 | 2.50 | 600.0 | ? | 99.910% |" in text
    assert "| FP16, as it serves | 1234 | 1.50 | 2.00 | 2.50 | 600.0 | 700 | 99.910% |" in text
    assert "* tensorrt_mixed: BackendError: pycuda cannot be imported" in text
    assert "* tensorrt_fp16: must not serve: only 90.00% of its labels" in text
    assert "* pins_obey: left out: no layer of this graph is pinned" in text
    assert "* tests: 9 passed" in text


def test_libraries_of_a_folder_are_there_before_all_else(tmp_path: Path) -> None:
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "tensorrt.py").write_text("__version__ = '10.0'\n")
    code = "import sys, json; print(json.dumps({'there': 'tensorrt' in sys.modules}))"
    for _ in range(2):  # a run that goes on finds its own file there
        environment = environment_for(libraries, tmp_path)
        assert gpu_check.run_part(python(code), environment, 60) == {"there": True}
