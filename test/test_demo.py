"""`asymformer demo`: its arguments, its processes, and the whole of it over real DDS."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from conftest import ROOT

from asymformer_ros.cli import demo
from asymformer_ros.cli.children import Child
from asymformer_ros.errors import AsymformerError, ConfigurationError


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--seconds", "0"], "above 0"),
        (["--camera", "folder"], "belong together"),
        (["--folder", "x"], "belong together"),
        (["--output", "/no/such/folder/demo.png"], "does not exist"),
        (["--output", "demo.jpg"], "expected the name of a .png file"),
        (["--output", "/"], "expected the name of a .png file"),
    ],
)
def test_an_argument_without_sense_is_refused_before_anything_starts(given: list[str], says: str) -> None:
    args = arguments(*given)
    with pytest.raises(ConfigurationError, match=says):
        args.run(args)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], ""),
        (["--model", "untrained"], "labels mean nothing"),
        (["--camera", "folder"], ""),
        (["--camera", "folder", "--model", "demo"], "knows only simulated rooms"),
        (["--camera", "folder", "--model", "mine.safetensors"], ""),
    ],
)
def test_labels_that_mean_little_come_with_a_warning(given: list[str], says: str) -> None:
    warning = demo._choose_model(arguments(*given))
    assert says in warning
    assert bool(says) == bool(warning)


@pytest.mark.ros
def test_a_child_that_dies_is_named_with_its_own_reason(tmp_path: Path) -> None:
    options = ["-p", "source:=folder", "-p", "folder:=/no/such"]
    child = Child("asymformer_ros.node.camera_node", options, {}, tmp_path / "log")
    assert child.ends_within(30.0)
    with pytest.raises(AsymformerError, match=r"camera_node ended with code 1: no folder '/no/such'"):
        child.require_alive()


@pytest.mark.ros
def test_a_child_is_ended_and_stays_ended(tmp_path: Path) -> None:
    child = Child("asymformer_ros.node.camera_node", [], {}, tmp_path / "log")
    child.require_alive()
    child.end()
    with pytest.raises(AsymformerError, match="camera_node ended"):
        child.require_alive()
    child.end()


def _start(*given: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    return subprocess.Popen(
        [sys.executable, "-m", "asymformer_ros.cli.main", "demo", *given],
        cwd=cwd,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("model", ["untrained", "demo"])
def test_the_demo_compares_with_the_truth_leaves_a_picture_and_ends_by_itself(model: str, tmp_path: Path) -> None:
    if model == "untrained":
        pytest.importorskip("torch", reason="the untrained model is PyTorch's")
    process = _start("--model", model, "--seconds", "3", "--output", "shot.png", cwd=tmp_path)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    assert ("labels mean nothing" in output) == (model == "untrained")
    assert re.search(r"Hz \| age \d+ ms \| mIoU \d+\.\d%", output)
    assert re.search(r"\nmIoU \d+\.\d% over \d+ frames.*\nIoU: \w+ \d+%, ", output)
    picture = cv2.imread(str(tmp_path / "shot.png"))
    assert picture.shape[1] == 2 * 320 + 4
    assert [file.name for file in tmp_path.iterdir()] == ["shot.png"]


@pytest.mark.ros
@pytest.mark.slow
def test_a_recording_without_truth_gives_a_picture_and_no_score(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the untrained model is PyTorch's")
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"frame-{number:06d}.color.png"), np.full((60, 80, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f"frame-{number:06d}.depth.png"), np.full((60, 80), 1000, np.uint16))
    given = ("--camera", "folder", "--folder", str(tmp_path), "--model", "untrained", "--seconds", "2")
    process = _start(*given, cwd=tmp_path)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    assert "mIoU" not in output
    assert cv2.imread(str(tmp_path / "demo.png")).shape[1] == 3 * 80 + 2 * 4


@pytest.mark.ros
@pytest.mark.slow
def test_an_early_interrupt_ends_the_demo_with_code_0_and_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the untrained model is PyTorch's")
    process = _start("--model", "untrained", "--seconds", "600", cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "Hz | age" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    assert (tmp_path / "demo.png").exists()


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_the_nodes_end_with_the_demo_however_it_ends(number: signal.Signals, tmp_path: Path) -> None:
    process = _start("--model", "demo", "--seconds", "600", cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "Hz | age" in line:
            break
    nodes = psutil.Process(process.pid).children()
    assert len(nodes) == 2
    process.send_signal(number)
    assert process.wait(60) == (129 if number == signal.SIGHUP else -number)
    _, alive = psutil.wait_procs(nodes, timeout=60)
    assert not alive


def test_the_demo_keeps_the_users_ros_domain_and_tells_its_own() -> None:
    assert "ROS_DOMAIN_ID" not in demo.demo_environment({"ROS_DOMAIN_ID": "7"})
    own = demo.demo_environment({})
    assert 1 <= int(own["ROS_DOMAIN_ID"]) <= 100
    assert demo._domain(own) == f"ROS_DOMAIN_ID={own['ROS_DOMAIN_ID']} ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"


@pytest.mark.ros
@pytest.mark.slow
def test_a_model_that_is_not_there_ends_the_demo_with_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="bundles are PyTorch's")
    process = _start("--model", "/no/such.safetensors", cwd=tmp_path)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "segmentation_node ended with code 1" in output
    assert "/no/such.safetensors" in output
    assert "Traceback" not in output
