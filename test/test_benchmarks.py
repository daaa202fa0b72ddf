"""The benchmark suite: which machine it names, what it calls slower, which goals it calls met, and that it measures."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import suite
from goals import Goal, goals, told
from measuring import by_turns


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("vendor_id : AuthenticAMD\nflags : sse2 avx2 avx512f avx512_bf16\n", "-amd-avx512-bf16-"),
        ("vendor_id : GenuineIntel\nflags : sse2 avx2 avx_vnni\n", "-intel-avx2-vnni-"),
        ("flags : sse2 avx2\n", "-avx2-"),
        ("Features : fp asimd bf16\n", "-neon-bf16-"),
        ("model name : something\n", "-"),
    ],
)
def test_a_machine_is_named_by_what_times_depend_on(tmp_path: Path, text: str, features: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(text)
    architecture, *found, cores = suite.machine_class(tmp_path).split("-")
    assert "-".join(["", *found, ""]) == (features if found else "-")
    assert (architecture, cores[-5:]) == (platform.machine(), "cores")


def test_figures_that_have_become_worse_are_told_by_ratio_and_by_what_was_measured() -> None:
    def figures(age: float, help_s: float) -> dict[str, object]:
        rows = [{"model": "demo", "camera_hz": 30.0, "busy_loops": 2, "age_p50_ms": age, "labels_hz": 30.0 / age}]
        return {"overload": {"figures": {"rows": rows}}, "startup": {"figures": {"help_s": {"demo": help_s}}}}

    assert suite.slower(figures(40, 0.1), figures(48, 0.1)) == []
    assert suite.slower(figures(40, 0.1), figures(80, 0.3)) == [
        "3.00 times as much: startup/figures/help_s/demo (0.1, now 0.3)",
        "2.00 times as much: overload/figures/rows/demo 30.0 2/age_p50_ms (40, now 80)",
    ]
    assert suite.slower(figures(40, 0.1), {}) == []


def test_actions_run_by_turns_and_the_first_time_does_not_count() -> None:
    seen: list[str] = []
    times = by_turns([lambda: seen.append("a"), lambda: seen.append("b")], 3)
    assert "".join(seen) == "abbaabba"
    assert times.wall.shape == times.cpu.shape == (2, 3)
    assert by_turns([lambda: None], 50, seconds=0).wall.shape == (1, 3)


def test_a_goal_is_met_missed_or_unknown() -> None:
    rows = [
        Goal("memory", "cores", 0.02, 0.01).row(),
        Goal("overload", "labels", 29.9, 29.7, "Hz", least=True).row(),
        Goal("startup", "help", None, 0.12, "s").row(),
    ]
    assert [row[2:] for row in rows] == [
        ("0.02", "at most 0.01", "**no**"),
        ("29.9 Hz", "at least 29.7 Hz", "yes"),
        ("not measured", "at most 0.12 s", "unknown"),
    ]


def test_what_was_not_measured_has_its_row_and_what_was_has_its_figure() -> None:
    row = {"model": "demo", "wall_ms": 20.0, "wall_ratio": 0.5, "same_labels": 1.0, "backend": "onnxruntime cpu fp32"}
    busy = {**row, "busy": 2, "wall_ms": 50.0}
    found = {goal.name: goal for goal in goals({"network": {"figures": {"rows": [{**row, "busy": 0}, busy]}}})}
    assert found["demo, onnxruntime cpu fp32: time to eager PyTorch's"].met is True
    assert found["demo, onnxruntime cpu fp32: beside 2 busy loops to idle"].value == 2.5
    assert found["published, onnxruntime cpu fp32: time to eager PyTorch's"].met is None
    assert found["1280x720, all: time to a plain node's"].met is None
    assert told(found.values()).count("not measured") == len(found) - 3


def test_a_part_that_fails_is_named_and_the_others_go_on_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[str] = []

    def run(part: str, *_: Any) -> dict[str, Any]:
        measured.append(part)
        how = {"failed": "no camera"} if part == "overload" else {"figures": {}, "table": f"table of {part}"}
        return {"seconds": 1, "load_before": 0.1, **how}

    monkeypatch.setattr(suite, "run", run)
    assert suite.main(["--output", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("failed: overload") == 1
    assert measured == list(suite.PARTS)
    text = (tmp_path / "speed.md").read_text()
    assert "## overload\n1 s, load before 0.1\n\nfailed: no camera" in text
    assert "table of memory" in text
    measured.clear()
    suite.main(["--output", str(tmp_path), "--resume"])
    assert measured == ["overload"]
    assert list(json.loads((tmp_path / "speed.json").read_text())["parts"]) == list(suite.PARTS)
    suite.main(["--output", str(tmp_path), "--resume", "--quick"])
    assert measured == ["overload", *suite.PARTS]  # what was not quick is none of these


def test_a_part_that_takes_too_long_is_interrupted_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_PATIENCE", 0.2)
    assert suite._ended([sys.executable, "-c", "import time; time.sleep(100)"]) == (1, "", "it took longer than 0 s")


@pytest.mark.ros
def test_the_suite_writes_figures_and_tables_and_tells_what_became_slower(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    before = {"frame_path": {"figures": {"rows": [{"size": "640x480", "outputs": "labels", "ratio": 1e-6}]}}}
    (tmp_path / "before.json").write_text(json.dumps({"parts": before}))
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
    assert "times as much: frame_path/figures/rows/640x480 labels/ratio" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 2
    figures = json.loads((tmp_path / "speed.json").read_text())["parts"]["frame_path"]["figures"]
    assert [row["outputs"] for row in figures["rows"]] == ["labels", "overlay", "all"] * 2
    assert all(0 < row["ratio"] < 1 for row in figures["rows"])
    assert "| 640x480 | labels |" in (tmp_path / "speed.md").read_text()


@pytest.mark.ros
def test_a_stream_is_measured_on_the_real_node(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    pytest.importorskip("onnxruntime", reason="demo is served by it")
    import node_run

    monkeypatch.setattr(node_run, "_WARM_UP", 0.0)
    with node_run.listening(node_run.Run(rates=(20.0, 5.0))) as listener:
        node_run.labelled(listener)
        figures = node_run.stream(listener, 1.0)
        process = listener.process
    assert not process.is_running()
    assert 0 < figures["labels_hz"] <= 1.2 * figures["sent_hz"]
    assert 0 < figures["inference_ms"] < figures["age_p99_ms"]
    assert figures["rss_mib"] > 50
    assert all(listener.labels.values())


def test_a_camera_that_asks_for_little_gets_it_and_the_others_share_the_rest() -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    from scaling import fair_rates

    assert fair_rates([30.0, 15.0, 5.0, 1.0], 26.0) == [10.0, 10.0, 5.0, 1.0]
    assert np.sum(fair_rates([10.0, 10.0], 25.0)) == 20.0
