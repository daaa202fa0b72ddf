"""`asymformer demo`: camera, segmentation and a viewer, for some seconds, without any other ROS tool."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asymformer_ros.cli.children import Child
from asymformer_ros.cli.demo_picture import side_by_side, write_png
from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.node.fastdds import large_message_environment

if TYPE_CHECKING:
    from asymformer_ros.node.demo_viewer import DemoViewer, Progress

_UNTRAINED = {"untrained": (320, 240), "untrained_full": (640, 480)}  # camera sizes to go with them
_MODEL_CAMERA_SIZE = (640, 480)
_STARTUP_SECONDS = 120.0
_WARNING = "the model is untrained: its labels mean nothing, only the pipeline is real"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the `asymformer` parser."""
    parser = subparsers.add_parser(
        "demo",
        help="segment a simulated or recorded camera for some seconds and leave a picture",
        description="Start a camera node and the segmentation node, show rate, age, stage times and classes in view, "
        "and write a picture of camera, depth and overlay. Ctrl-C ends it early.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, from the first segmented frame [60]")
    parser.add_argument("--output", type=Path, default=Path("demo.png"), help="picture to write [demo.png]")
    parser.add_argument("--model", default="untrained", help="model bundle, untrained or untrained_full [untrained]")
    parser.add_argument("--camera", choices=("sim", "folder"), default="sim", help="simulated or recorded [sim]")
    parser.add_argument("--folder", type=Path, help="recording for --camera folder")
    parser.add_argument("--rate", type=float, default=15.0, help="camera frames a second [15]")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo. Raises AsymformerError where it could not show anything."""
    _check(args)
    environment = _environment()
    os.environ.update(environment)  # this process's own node meets the children there
    if args.model in _UNTRAINED:
        print(f"asymformer demo: {_WARNING}", flush=True)
    with _children(args, environment) as children:
        viewer = _watch(args.seconds, children)
    _conclude(viewer, args)
    return 0


def _check(args: argparse.Namespace) -> None:
    if importlib.util.find_spec("rclpy") is None:
        raise ConfigurationError("the demo needs ROS 2: source its setup.bash, or pip install 'asymformer_ros[ros]'")
    if args.seconds <= 0 or args.rate <= 0:
        raise ConfigurationError("--seconds and --rate must be above 0")
    if (args.camera == "folder") != (args.folder is not None):
        raise ConfigurationError("--folder and --camera folder belong together: give both or neither")
    if not args.output.absolute().parent.is_dir():
        raise ConfigurationError(f"--output {args.output}: the folder {args.output.absolute().parent} does not exist")


def _environment() -> dict[str, str]:
    """A ROS domain of the demo's own on this machine, and room for images in shared memory."""
    alone = {"ROS_DOMAIN_ID": str(random.randint(1, 100)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return {**alone, **large_message_environment(os.environ)}


@contextlib.contextmanager
def _children(args: argparse.Namespace, environment: dict[str, str]) -> Iterator[list[Child]]:
    children: list[Child] = []
    with tempfile.TemporaryDirectory(prefix="asymformer_demo_") as logs:
        try:
            for node, parameters in (
                ("segmentation_node", {"model": f"'{args.model}'"}),
                ("camera_node", _camera_parameters(args)),
            ):
                options = [option for name, value in parameters.items() for option in ("-p", f"{name}:={value}")]
                log = Path(logs) / f"{node}.log"
                children.append(Child(f"asymformer_ros.node.{node}", options, environment, log))
            yield children
        finally:
            for child in children:
                child.end()


def _camera_parameters(args: argparse.Namespace) -> dict[str, str]:
    width, height = _UNTRAINED.get(args.model, _MODEL_CAMERA_SIZE)
    folder = {"folder": f"'{args.folder}'"} if args.folder else {}
    return {"source": args.camera, "rate": f"{args.rate}", "width": f"{width}", "height": f"{height}", **folder}


def _watch(seconds: float, children: list[Child]) -> DemoViewer:
    from asymformer_ros.node.demo_viewer import watch

    started = time.monotonic()

    def go_on(progress: Progress) -> bool:
        for child in children:
            child.require_alive()
        if progress.seconds == 0 and time.monotonic() - started > _STARTUP_SECONDS:
            raise AsymformerError(
                f"nothing was segmented within {_STARTUP_SECONDS:.0f} s; segmentation_node's last words: "
                f"{children[0].last_words()}"
            )
        _show(progress.line)
        return progress.seconds < seconds

    try:
        return watch(go_on)
    finally:
        if sys.stdout.isatty():
            print()


def _show(line: str) -> None:
    """Rewrite the terminal's line; elsewhere print one more."""
    if not sys.stdout.isatty():
        print(line, flush=True)
        return
    width = shutil.get_terminal_size().columns - 1
    print("\r" + line[:width].ljust(width), end="", flush=True)


def _conclude(viewer: DemoViewer, args: argparse.Namespace) -> None:
    images = viewer.images()
    if images is None:
        raise AsymformerError(
            f"no picture: {viewer.camera_images} camera images and {viewer.overlays} overlays came, none of one stamp"
        )
    untrained = args.model in _UNTRAINED
    write_png(args.output, side_by_side(*images, "overlay (untrained)" if untrained else "overlay"))
    ages = np.percentile(viewer.ages, (50, 95)) if viewer.ages else (float("nan"), float("nan"))
    print(f"{viewer.overlays} frames segmented, age p50 {ages[0]:.0f} ms, p95 {ages[1]:.0f} ms; wrote {args.output}")
    if untrained:
        print(f"remember: {_WARNING}")
