"""How long it takes until something is there: `--help`, the node, its first label after the process starts.

    python benchmarks/startup.py
    python benchmarks/startup.py --quick --json startup.json

A recorded camera and a subscriber of labels run already when the node starts, each in a process of its own, all with
the package's Fast DDS profile or without it. Python has compiled the package, and the model's graph has been kept by an
earlier start, but for "first start", where it is made. Medians; `interpreter` is `python -c pass` beside them.
"""

from __future__ import annotations

import compileall
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from measuring import by_turns, command_line, finish, running, table, work_folder
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image
from served_models import node_parameters

from asymformer_ros.engine.frames import GOLDEN_FRAMES
from asymformer_ros.node.fastdds import CHOSEN_BY_USER, large_message_environment

_PATIENCE = 120.0  # seconds
_NODE = "import sys; from asymformer_ros.node.start import start; sys.exit(start('segmentation_node'))"
"""As `ros2 run` starts it."""

_SPACE = f"startup_{os.getpid()}"
"""Namespace of all: another node in a domain that was chosen at random is not heard."""


def help_seconds(runs: int) -> dict[str, float]:
    """Median seconds of each subcommand's --help, and of the interpreter alone, by turns."""
    commands = {"interpreter": ["-c", "pass"], "asymformer": ["-m", "asymformer_ros.cli.main", "--help"]}
    commands |= {name: ["-m", "asymformer_ros.cli.main", name, "--help"] for name in subcommands()}
    actions = [
        partial(subprocess.run, [sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        for arguments in commands.values()
    ]
    seconds = np.median(by_turns(actions, runs).wall, axis=1) / 1e3
    return {name: round(float(value), 3) for name, value in zip(commands, seconds, strict=True)}


def subcommands() -> list[str]:
    """The names that `asymformer --help` lists."""
    told = subprocess.run(
        [sys.executable, "-m", "asymformer_ros.cli.main", "--help"], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"^    ([a-z-]+)(?:  +\w|$)", told.partition("SUBCOMMAND\n")[2], re.MULTILINE)


def node_start(parameters: Sequence[str], environment: dict[str, str]) -> dict[str, float]:
    """Seconds from the start of the node's process to "segmenting" in its log and to the first label that comes."""
    labelled = threading.Event()
    seen: dict[str, float] = {}
    context = rclpy.Context()
    context.init()
    listener = rclpy.create_node("startup_listener", namespace=_SPACE, context=context)

    def note(name: str) -> None:
        seen.setdefault(name, time.monotonic())
        if name == "first_label":
            labelled.set()

    listener.create_subscription(Image, "segmentation/labels", lambda message: note("first_label"), 10)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    spinning = threading.Thread(target=_spin, args=(executor,), daemon=True)
    spinning.start()
    start = time.monotonic()
    arguments = ["-c", _NODE, "--ros-args", "-r", f"__ns:=/{_SPACE}"]
    arguments += [part for parameter in parameters for part in ("-p", parameter)]
    with running(arguments, subprocess.PIPE, environment) as node:
        assert node.stdout is not None, "a pipe"
        reading = threading.Thread(target=_read, args=(node.stdout, note), daemon=True)
        reading.start()
        came = labelled.wait(_PATIENCE)
        node.send_signal(signal.SIGINT)
        reading.join(_PATIENCE)
    context.try_shutdown()
    spinning.join(_PATIENCE)
    if not came:
        raise SystemExit(f"no label within {_PATIENCE:.0f} s")
    return {name: at - start for name, at in seen.items()}


def _spin(executor: Any) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return


def _read(lines: Any, note: Any) -> None:
    for line in lines:
        if "]: segmenting" in line:
            note("segmenting")
        elif ", loaded in" in line:
            note("loaded")


def node_starts(model: str, runs: int, profile: bool, cache: str = "") -> dict[str, float]:
    """Medians of `node_start`, with a camera beside it and with the package's profile or without one.

    model, cache: parameters of the node; where the graph has been kept, "" for an empty folder at each start.
    """
    for name in CHOSEN_BY_USER:
        os.environ.pop(name, None)
    os.environ["ROS_DOMAIN_ID"] = str(random.randint(1, 100))
    if profile:
        os.environ.update(large_message_environment(os.environ))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    camera = ["-m", "asymformer_ros.node.camera_node", "--ros-args", "-p", "source:=folder", "-p", "rate:=30.0"]
    camera += ["-p", f"folder:={GOLDEN_FRAMES}", "-r", f"__ns:=/{_SPACE}"]
    with running(camera, subprocess.PIPE, environment) as publishing:
        assert publishing.stdout is not None, "a pipe"
        while "publishing" not in (line := publishing.stdout.readline()):
            if not line:
                raise SystemExit("the camera has ended")
        found = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as empty:
                found.append(node_start([model, cache or f"engine_cache:={empty}"], environment))
    names = ("loaded", "segmenting", "first_label")
    return {name: round(float(np.median([one[name] for one in found])), 2) for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables. Returns 0."""
    parser = command_line(__doc__)
    parser.add_argument("--model", default="demo", help="known name, bundle, .onnx file (default: demo)")
    parser.add_argument("--runs", type=int, default=5, help="of each (default: 5)")
    args = parser.parse_args(argv)
    runs = 1 if args.quick else args.runs
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(str(Path(__file__).parents[1] / "asymformer_ros"), quiet=1)
    with work_folder(args) as work:
        model, cache = node_parameters(args.model, work)
        starts = {
            "profile": node_starts(model, runs, True, cache),
            "default": node_starts(model, runs, False, cache),
            "profile, first start": node_starts(model, runs, True),
        }
    helps = help_seconds(runs)
    return finish(args, {"model": args.model, "node_s": starts, "help_s": helps}, _told(args.model, starts, helps))


def _told(model: str, starts: dict[str, dict[str, float]], helps: dict[str, float]) -> str:
    head = (f"node of `{model}`, DDS", "model loaded (s)", "segmenting (s)", "first label (s)")
    told = table(head, [(name, row["loaded"], row["segmenting"], row["first_label"]) for name, row in starts.items()])
    return f"{told}\n\n{table(('`--help` of', 's'), helps.items())}"


if __name__ == "__main__":
    sys.exit(main())
