"""A recording, published by one process at camera rate and segmented by another, over DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("torch", reason="the torch backend serves here")

ROOT = Path(__file__).parents[1]


@pytest.mark.ros
@pytest.mark.slow
def test_a_camera_faster_than_the_network_is_segmented_frame_by_frame_and_memory_stays(
    rendered: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "benchmarks/stream.py", str(rendered)]
    options = ["--seconds", "12", "--rate", "30", "--model", "untrained", "--json", str(report)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    figures = json.loads(report.read_text())
    assert figures["problems"] == []  # a header, size or encoding that is not the camera's would stand here
    assert figures["exit_codes"] == {"SIGINT": 0, "SIGTERM": 0}
    assert figures["labels_hz"] > 0
    assert figures["memory_mib"]["end"] - figures["memory_mib"]["5"] < 40
