"""How long it takes until something is there: `--help`, the node, its first label after the process starts.

    python benchmarks/startup.py
    python benchmarks/startup.py --quick --json startup.json

A simulated camera and a subscriber of labels run already when the node starts, each in a process of its own, all with
the package's Fast DDS profile or without it. Medians of several starts; `interpreter` is `python -c pass` beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

from asymformer_ros.node.fastdds import CHOSEN_BY_USER, large_message_environment

LIMITS = {"help": 0.12, "segmenting": 0.7, "first_label": 1.5}
"""Seconds, on idle cores."""

_PATIENCE = 30.0  # seconds


def help_seconds(runs: int) -> dict[str, float]:
    """Median seconds of each subcommand's --help, and of the interpreter alone, by turns."""
    commands = {"interpreter": ["-c", "pass"], "asymformer": ["-m", "asymformer_ros.cli.main", "--help"]}
    commands |= {name: ["-m", "asymformer_ros.cli.main", name, "--help"] for name in subcommands()}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - start)
    return {name: round(float(np.median(values)), 3) for name, values in times.items()}


def subcommands() -> list[str]:
    """The names that `asymformer --help` lists."""
    told = subprocess.run(
        [sys.executable, "-m", "asymformer_ros.cli.main", "--help"], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"^    ([a-z-]+)(?:  +\w|$)", told.partition("SUBCOMMAND\n")[2], re.MULTILINE)


@contextmanager
def process(arguments: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process of this Python with its output in a pipe, ended with SIGINT."""
    command = [sys.executable, *arguments]
    started = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=_PATIENCE)


def node_start(model: str, environment: dict[str, str]) -> dict[str, float]:
    """Seconds from the start of the node's process to "segmenting" in its log and to the first label that comes."""
    labelled = threading.Event()
    seen: dict[str, float] = {}
    context = rclpy.Context()
    context.init()
    listener = rclpy.create_node("startup_listener", context=context)

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
    arguments = ["-m", "asymformer_ros.node.segmentation_node", "--ros-args", "-p", f"model:={model}"]
    with process(arguments, environment) as node:
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


def node_starts(model: str, runs: int, profile: bool) -> dict[str, float]:
    """Medians of `node_start`, with a camera beside it and with the package's profile or without one."""
    for name in CHOSEN_BY_USER:
        os.environ.pop(name, None)
    os.environ["ROS_DOMAIN_ID"] = str(random.randint(1, 100))
    if profile:
        os.environ.update(large_message_environment(os.environ))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    camera = ["-m", "asymformer_ros.node.camera_node", "--ros-args", "-p", "source:=sim", "-p", "rate:=30.0"]
    with process(camera, environment) as running:
        assert running.stdout is not None, "a pipe"
        while "publishing" not in (line := running.stdout.readline()):
            if not line:
                raise SystemExit("the camera has ended")
        found = [node_start(model, environment) for _ in range(runs)]
    names = ("loaded", "segmenting", "first_label")
    return {name: round(float(np.median([one[name] for one in found])), 2) for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    args = parser.parse_args(argv)
    runs = 1 if args.quick else args.runs
    figures: dict[str, Any] = {"model": args.model, "limits_s": LIMITS}
    figures["node_s"] = {name: node_starts(args.model, runs, name == "profile") for name in ("profile", "default")}
    figures["help_s"] = help_seconds(runs)
    print(table(figures))
    if args.json:
        args.json.write_text(json.dumps({"startup": figures}, indent=2) + "\n")
    return 0


def table(figures: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = ["| node of `demo` | model loaded (s) | segmenting (s) | first label (s) |", "|---|---|---|---|"]
    for name, row in figures["node_s"].items():
        lines.append(f"| {name} | {row['loaded']} | {row['segmenting']} | {row['first_label']} |")
    lines += [f"| limit | | {LIMITS['segmenting']} | {LIMITS['first_label']} |", "", "| `--help` of | s |", "|---|---|"]
    lines += [f"| {name} | {seconds:.3f} |" for name, seconds in figures["help_s"].items()]
    return "\n".join([*lines, f"| limit | {LIMITS['help']} |"])


if __name__ == "__main__":
    sys.exit(main())
