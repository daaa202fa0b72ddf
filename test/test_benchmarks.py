"""The benchmark suite: which machine it names, which times it calls longer, and that the frame path can be measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import suite


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("flags : sse2 avx2 avx512f avx512_bf16\n", "-avx512-bf16-"),
        ("flags : sse2 avx2\n", "-avx2-"),
        ("Features : fp asimd bf16\n", "-neon-bf16-"),
        ("model name : something\n", "-"),
    ],
)
def test_a_machine_is_named_by_what_times_depend_on(tmp_path: Path, text: str, features: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    architecture, *found, cores = suite.machine_class(tmp_path / "cpuinfo").split("-")
    assert "-".join(["", *found, ""]) == (features if found else "-")
    assert (architecture, cores[-5:]) == (platform.machine(), "cores")


def test_times_that_have_become_longer_are_told_by_ratio_and_by_what_was_measured() -> None:
    def figures(age: float, help_s: float) -> dict[str, object]:
        rows = [{"camera_hz": 30.0, "busy_loops": 2, "age_p50_ms": age, "labels_hz": 30.0 / age}]
        return {
            "overload": {"overload": rows, "limits": {"age_p50_ms": 40 / age}},
            "startup": {"help_s": {"demo": help_s}},
        }

    assert suite.slower(figures(40, 0.1), figures(48, 0.1)) == []
    assert suite.slower(figures(40, 0.1), figures(80, 0.3)) == [
        "3.00 times as long: startup/help_s/demo (0.1, now 0.3)",
        "2.00 times as long: overload/overload/30.0 2/age_p50_ms (40, now 80)",
    ]
    assert suite.slower(figures(40, 0.1), {}) == []


@pytest.mark.ros
def test_the_suite_writes_figures_and_tables_and_tells_what_became_longer(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    before = {"frame_path": {"frame_path": [{"size": "640x480", "outputs": "labels", "ours_ms": 1e-6}]}}
    (tmp_path / "before.json").write_text(json.dumps(before))
    run = subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks/suite.py"), "--quick", "--parts", "frame_path"),
            *("--output", str(tmp_path), "--against", str(tmp_path / "before.json")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "times as long: frame_path/frame_path/640x480 labels/ours_ms" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 1
    rows = json.loads((tmp_path / "speed.json").read_text())["frame_path"]["frame_path"]
    assert [row["outputs"] for row in rows] == ["labels", "overlay", "all"] * 2
    assert all(0 < row["ratio"] < 1 for row in rows)
    assert "| 640x480 | labels |" in (tmp_path / "speed.md").read_text()
