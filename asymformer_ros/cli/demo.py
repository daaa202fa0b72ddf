"""`asymformer demo`: camera, segmentation and a viewer, for some seconds, without any other ROS tool."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.children import Child
from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.node import OWN_CAMERAS
from asymformer_ros.node.fastdds import large_message_environment
from asymformer_ros.optional import require

if TYPE_CHECKING:
    from asymformer_ros.node.demo_viewer import DemoViewer

_STARTUP_SECONDS = 120.0
_UNTRAINED = "the model is untrained: its labels mean nothing, only the pipeline is real"
_OUT_OF_PLACE = "the model `demo` knows only simulated rooms: of a recording it can only guess"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Start a camera node and the segmentation node; show rate, age, mIoU against the simulation's "
        "truth, classes in view and stage times; write a picture of the moment with most classes in view. Ctrl-C ends "
        "it early."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, from the first segmented frame [60]")
    parser.add_argument("--output", type=Path, default=Path("demo.png"), help="picture to write [demo.png]")
    parser.add_argument(
        "--model",
        help="a known name, a model bundle or .onnx file, or untrained [simulated demo; recorded nyuv2 where it was "
        "downloaded, else rooms]",
    )
    parser.add_argument("--camera", choices=OWN_CAMERAS, default="sim", help="simulated or recorded [sim]")
    parser.add_argument("--folder", type=Path, help="recording for --camera folder")
    parser.add_argument("--rate", type=float, help="camera frames a second [simulated 8, recorded 30]")
    parser.add_argument(
        "--seed", type=int, help="of the first simulated room; `demo` was trained on those below 1000000 [2000043]"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo. Raises AsymformerError where it could not show anything."""
    _check(args)
    warning = _choose_model(args)
    environment = demo_environment(os.environ)
    os.environ.update(environment)  # this process's own node meets the children there
    print(f"its topics, in another shell: export {_domain(os.environ)}", flush=True)
    if warning:
        print(f"asymformer demo: {warning}", flush=True)
    with _children(args, environment) as children:
        viewer = _watch(args, children)
    _conclude(viewer, args, warning)
    if warning:
        print(f"remember: {warning}")
    return 0


def _check(args: argparse.Namespace) -> None:
    require("the demo", "rclpy")
    if args.seconds <= 0:
        raise ConfigurationError("--seconds must be above 0")
    if (args.camera == "folder") != (args.folder is not None):
        raise ConfigurationError("--folder and --camera folder belong together: give both or neither")
    _check_output(args.output)


def _check_output(path: Path) -> None:
    folder = path.absolute().parent
    if path.suffix.lower() != ".png" or path.is_dir():
        raise ConfigurationError(f"--output {path}: expected the name of a .png file")
    if not folder.is_dir():
        raise ConfigurationError(f"--output {path}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"--output {path}: the folder {folder} cannot be written to")


def _choose_model(args: argparse.Namespace) -> str:
    """Set the model where none is given. Returns what is to be said of it, "" for nothing."""
    from asymformer_ros.models.catalogue import DEMO, UNTRAINED  # not for the help, which it would delay

    if args.model is None:
        args.model = DEMO.name if args.camera == "sim" else ""
    if args.model in UNTRAINED:
        return _UNTRAINED
    return _OUT_OF_PLACE if args.model == DEMO.name and args.camera == "folder" else ""


def demo_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the demo adds to the environment of its nodes.

    A ROS domain of its own on this machine where the user has chosen none, and room for images in shared memory.
    """
    alone = {"ROS_DOMAIN_ID": str(random.randint(1, 100)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return {**({} if environment.get("ROS_DOMAIN_ID") else alone), **large_message_environment(environment)}


def _domain(environment: Mapping[str, str]) -> str:
    """The variables by which another shell finds the demo's topics."""
    names = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")
    return " ".join(f"{name}={environment[name]}" for name in names if environment.get(name))


@contextlib.contextmanager
def _children(args: argparse.Namespace, environment: dict[str, str]) -> Iterator[list[Child]]:
    from asymformer_ros.cli.demo_report import OVERLAY_ALPHA

    children: list[Child] = []
    with tempfile.TemporaryDirectory(prefix="asymformer_demo_") as logs:
        try:
            for node, parameters in (
                ("segmentation_node", {"model": f"'{args.model}'", "overlay_alpha": f"{OVERLAY_ALPHA}"}),
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
    given = {"folder": args.folder and f"'{args.folder}'", "rate": args.rate, "seed": args.seed}
    return {"source": args.camera, **{name: f"{value}" for name, value in given.items() if value is not None}}


def _watch(args: argparse.Namespace, children: list[Child]) -> DemoViewer:
    from asymformer_ros.cli.demo_report import live_line
    from asymformer_ros.node.demo_viewer import watch

    started = time.monotonic()

    def go_on(viewer: DemoViewer) -> bool:
        for child in children:
            child.require_alive()
        if not viewer.segmented and time.monotonic() - started > _STARTUP_SECONDS:
            raise AsymformerError(
                f"nothing was segmented within {_STARTUP_SECONDS:.0f} s; segmentation_node's last words: "
                f"{children[0].last_words()}"
            )
        _show(live_line(viewer, _line_width()))
        return viewer.seconds < args.seconds

    try:
        return watch(go_on, with_truth=args.camera == "sim")
    finally:
        if sys.stdout.isatty():
            print()


def _show(line: str) -> None:
    """Rewrite the terminal's line; elsewhere print one more."""
    if not sys.stdout.isatty():
        print(line, flush=True)
        return
    print("\r" + line.ljust(_line_width()), end="", flush=True)


def _line_width() -> int:
    """Characters of a line that can be rewritten; in a file a line may have any length."""
    return shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else 1000


def _conclude(viewer: DemoViewer, args: argparse.Namespace, warning: str) -> None:
    if viewer.best is None:
        raise AsymformerError(
            f"no picture: {viewer.camera_images} camera images and {viewer.segmented} segmentations came, none of one "
            "stamp"
        )
    from asymformer_ros.cli.demo_report import closing_lines, picture
    from asymformer_ros.frames.images import write_png

    caption = "segmentation (untrained)" if warning == _UNTRAINED else "segmentation"
    write_png(args.output, picture(viewer.best, caption))
    for line in closing_lines(viewer):
        print(line)
    print(f"wrote {args.output}")
