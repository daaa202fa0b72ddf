"""The real node in a process of its own, simulated cameras beside it, a listener here: what a stream gets of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from asymformer_ros.frames.messages import stamp_ns
from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.fastdds import large_message_environment

_HEARD = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
_PATIENCE = 60.0  # seconds
_BUSY = "while True: pass"


@dataclass(frozen=True)
class Run:
    """What runs: cameras at a rate (Hz), busy loops beside them, who listens.

    outputs: "labels", "all" or "none". cores: that the node may use, 0 for all. folder: a recording to play, not a
    simulated room.
    """

    model: str = "demo"
    rate: float = 30.0
    cameras: int = 1
    busy: int = 0
    outputs: str = "labels"
    cores: int = 0
    seconds: float = 10.0
    folder: str = ""


def measure(run: Run) -> dict[str, Any]:
    """Rates in Hz, ages in ms, drops as a share of the sent, cores and MiB of the node; ages of the run's two halves.

    Raises SystemExit where no label comes.
    """
    environment = {**os.environ, **large_message_environment(os.environ), "ROS_DOMAIN_ID": str(random.randint(1, 100))}
    names = [f"camera_{number}" for number in range(run.cameras)]
    with ExitStack() as stack:
        for name in names:
            source = ["source:=folder", f"folder:={run.folder}"] if run.folder else ["source:=sim"]
            stack.enter_context(_process("camera_node", environment, [*source, f"rate:={run.rate}"], name))
        parameters = [f"model:={run.model}", f"cameras:=[{', '.join(names)}]"]
        node = stack.enter_context(_process("segmentation_node", environment, parameters, ""))
        if run.cores:
            os.sched_setaffinity(node.pid, sorted(os.sched_getaffinity(0))[: run.cores])
        for _ in range(run.busy):
            stack.enter_context(_ended(subprocess.Popen([sys.executable, "-c", _BUSY], stderr=subprocess.DEVNULL)))
        context = rclpy.Context()
        context.init(domain_id=int(environment["ROS_DOMAIN_ID"]))
        try:
            return _listen(context, run, names, psutil.Process(node.pid))
        finally:
            context.try_shutdown()


def _listen(context: rclpy.Context, run: Run, names: Sequence[str], node: psutil.Process) -> dict[str, Any]:
    listener = rclpy.create_node("benchmark", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    ages: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    sent = dict.fromkeys(names, 0)

    def count(name: str, _: CameraInfo) -> None:
        sent[name] += 1

    def labelled(name: str, message: Image) -> None:
        now = listener.get_clock().now().nanoseconds
        ages[name].append((time.monotonic(), (now - stamp_ns(message.header)) * 1e-6))

    def drop(_: Any) -> None:
        """Nothing is done with the others."""

    for name in names:
        listener.create_subscription(CameraInfo, f"{name}/rgb/camera_info", partial(count, name), _HEARD)
        if run.outputs != "none":
            listener.create_subscription(Image, f"{name}/segmentation/labels", partial(labelled, name), _HEARD)
        for output in ("overlay", "color", "confidence") if run.outputs == "all" else ():
            listener.create_subscription(Image, f"{name}/segmentation/{output}", drop, _HEARD)
        if run.outputs == "all":
            listener.create_subscription(SegmentationSummary, f"{name}/segmentation/summary", drop, _HEARD)
    _spin_until(executor, lambda: run.outputs == "none" or all(ages.values()), _PATIENCE)
    if run.outputs != "none" and not all(ages.values()):
        raise SystemExit(f"no label within {_PATIENCE:.0f} s")
    _spin_until(executor, lambda: False, 15.0 if run.outputs == "none" else 2.0)
    for name in names:
        ages[name].clear()
        sent[name] = 0
    start, before = time.monotonic(), node.cpu_times()
    _spin_until(executor, lambda: False, run.seconds)
    wall, after = time.monotonic() - start, node.cpu_times()
    used = (after.user + after.system - before.user - before.system) / wall
    figures: dict[str, Any] = {"cores": round(used, 3), "rss_mib": round(node.memory_info().rss / 2**20)}
    if run.outputs == "none":
        return figures
    every = sorted(one for came in ages.values() for one in came)
    halves = np.array_split([age for _, age in every], 2)
    p50, p99 = np.percentile([age for _, age in every], (50, 99))
    return figures | {
        "sent_hz": round(sum(sent.values()) / wall, 1),
        "labels_hz": round(len(every) / wall, 1),
        "labels_hz_by_camera": [round(len(came) / wall, 1) for came in ages.values()],
        "dropped": round(max(0.0, 1 - len(every) / max(1, sum(sent.values()))), 3),
        "age_p50_ms": round(float(p50), 1),
        "age_p99_ms": round(float(p99), 1),
        "age_p50_of_halves_ms": [round(float(np.median(half)), 1) for half in halves],
    }


def _spin_until(executor: Any, finished: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not finished() and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)


def _process(module: str, environment: dict[str, str], parameters: Sequence[str], namespace: str) -> Any:
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    arguments += ["-r", f"__ns:=/{namespace}"] if namespace else []
    command = [sys.executable, "-m", f"asymformer_ros.node.{module}", "--ros-args", "--log-level", "warn", *arguments]
    return _ended(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a process at the end of the block."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE)


def options(parser: Any) -> None:
    """The options that each benchmark of the node has."""
    parser.add_argument("--model", default="demo")
    parser.add_argument("--folder", default="", help="a recorded folder that the cameras play, not a simulated room")
    parser.add_argument("--seconds", type=float, default=10.0, help="that each row is measured")
    parser.add_argument("--quick", action="store_true", help="3 seconds, and fewer rows")
    parser.add_argument("--json", type=Path, help="write the figures there, too")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of the same keys in Markdown."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names).replace('_', ' ')} |", "|---" * len(names) + "|"]
    lines += [f"| {' | '.join(_told(row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _told(value: Any) -> str:
    return " / ".join(str(one) for one in value) if isinstance(value, list) else str(value)
