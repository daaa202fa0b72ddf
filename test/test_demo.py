"""`asymformer demo`: its picture, its processes, and the whole of it over real DDS."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from asymformer_ros.cli import demo
from asymformer_ros.cli.children import Child
from asymformer_ros.cli.demo_picture import side_by_side, write_png
from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.frame import RgbdFrame

START = (
    "import argparse, sys\n"
    "from asymformer_ros.cli import demo\n"
    "from asymformer_ros.errors import AsymformerError\n"
    "parser = argparse.ArgumentParser()\n"
    "demo.add_parser(parser.add_subparsers())\n"
    "args = parser.parse_args()\n"
    "try:\n"
    "    sys.exit(args.run(args))\n"
    "except AsymformerError as error:\n"
    "    sys.exit(str(error))\n"
)


def frame(depth: np.ndarray) -> RgbdFrame:
    return RgbdFrame(np.full((*depth.shape, 3), 90, np.uint8), depth.astype(np.float32))


def test_the_picture_shows_camera_depth_and_overlay_side_by_side() -> None:
    depth = np.linspace(1, 4, 60 * 80).reshape(60, 80)
    depth[10, 10] = np.nan
    overlay = np.full((60, 80, 3), (10, 200, 30), np.uint8)
    picture = side_by_side(frame(depth), overlay, "overlay")
    height = picture.shape[0] - 60
    assert picture.shape[1] == 3 * 80 + 2 * 4
    assert (picture[height:, :80] == 90).all()
    assert (picture[height:, -80:] == (10, 200, 30)).all()
    assert (picture[height + 10, 84 + 10] == 0).all(), "unknown depth is black"
    near, far = picture[height, 84].astype(int), picture[-1, 84 + 79].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]


def test_a_picture_without_any_depth_is_black_where_depth_would_be() -> None:
    picture = side_by_side(frame(np.full((60, 80), np.nan)), np.zeros((60, 80, 3), np.uint8), "overlay")
    assert (picture[-60:, 84:164] == 0).all()


def test_a_picture_is_written_whole_in_rgb_and_leaves_nothing_beside(tmp_path: Path) -> None:
    rgb = np.full((4, 5, 3), (250, 10, 60), np.uint8)
    write_png(tmp_path / "out.png", rgb)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out.png"))[..., ::-1], rgb)
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(AsymformerError, match="cannot write"):
        write_png(tmp_path / "out.png", np.zeros((2, 2, 3), np.uint8))
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_parser(parser.add_subparsers())
    return parser.parse_args(["demo", *given])


@pytest.mark.ros
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--seconds", "0"], "above 0"),
        (["--camera", "folder"], "belong together"),
        (["--folder", "x"], "belong together"),
        (["--output", "/no/such/folder/demo.png"], "does not exist"),
    ],
)
def test_an_argument_without_sense_is_refused_before_anything_starts(given: list[str], says: str) -> None:
    args = arguments(*given)
    with pytest.raises(ConfigurationError, match=says):
        args.run(args)


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
    return subprocess.Popen(
        [sys.executable, "-c", START, "demo", *given],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.ros
@pytest.mark.slow
def test_the_demo_shows_rates_leaves_a_picture_and_ends_by_itself(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    process = _start("--seconds", "3", "--output", "shot.png", cwd=tmp_path)
    output, _ = process.communicate(timeout=110)
    assert process.returncode == 0, output
    assert "labels mean nothing" in output
    assert "Hz | age" in output
    picture = cv2.imread(str(tmp_path / "shot.png"))
    assert picture.shape[1] == 3 * 320 + 2 * 4
    assert [file.name for file in tmp_path.iterdir()] == ["shot.png"]


@pytest.mark.ros
@pytest.mark.slow
def test_an_early_interrupt_ends_the_demo_with_code_0_and_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    process = _start("--seconds", "600", cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "Hz | age" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert (tmp_path / "demo.png").exists()


@pytest.mark.ros
@pytest.mark.slow
def test_a_model_that_is_not_there_ends_the_demo_with_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    process = _start("--model", "/no/such.safetensors", cwd=tmp_path)
    output, _ = process.communicate(timeout=110)
    assert process.returncode == 1
    assert "segmentation_node ended with code 1" in output
    assert "/no/such.safetensors" in output
    assert "Traceback" not in output
