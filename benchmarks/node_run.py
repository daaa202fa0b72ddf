"""The real node in a process of its own, recorded cameras beside it, a listener here: what a stream gets of it.

python benchmarks/node_run.py --model rooms --rates 30 --seconds 60
python benchmarks/node_run.py --folder FOLDER --rates 30,10 --outputs labels,overlay --busy 2
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from measuring import command_line, finish, running, table_of, work_folder
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from served_models import node_parameters

from asymformer_ros.engine.frames import GOLDEN_FRAMES
from asymformer_ros.frames.messages import stamp_ns
from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.fastdds import large_message_environment
from asymformer_ros.system.busy import busy_loops

ALL = ("labels", "overlay", "color", "confidence", "summary")
_HEARD = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
_PATIENCE = 240.0  # seconds
_WARM_UP = 3.0  # seconds
_SAMPLED = 0.2  # seconds between two looks at the node's memory
_FEWEST = 10
"""Labels of a stream that say something of it."""
_INFERENCE = "inference p50/p95/p99 (ms)"


@dataclass(frozen=True)
class Run:
    """What runs: cameras at rates (Hz), busy loops beside them, what is listened to.

    outputs: some of ALL. cores: that the node may use, 0 for all. folder: a recording, which the cameras play. work:
    where models and their graphs are kept; None where nothing is prepared.
    """

    model: str = "demo"
    rates: tuple[float, ...] = (30.0,)
    busy: int = 0
    outputs: tuple[str, ...] = ("labels",)
    cores: int = 0
    seconds: float = 10.0
    folder: Path = GOLDEN_FRAMES
    work: Path | None = None

    @property
    def cameras(self) -> list[str]:
        """Their names."""
        return [f"camera_{os.getpid()}_{number}" for number in range(len(self.rates))]


class Listener:
    """Hears cameras and node.

    labels: arrivals of each camera's, monotonic seconds and age in ms. sent: frames of each camera. memory: monotonic
    seconds and MiB of the node. status: what the node's first camera last said on /diagnostics, by key.
    """

    def __init__(self, context: rclpy.Context, cameras: Sequence[str], process: psutil.Process) -> None:
        self._node = rclpy.create_node("benchmark", context=context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._subscriptions: dict[str, list[Any]] = {}
        self.cameras, self.process = cameras, process
        self.status: dict[str, str] = {}
        self.clear()
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        for camera in cameras:
            self._node.create_subscription(
                CameraInfo, f"{camera}/rgb/camera_info", partial(self._on_sent, camera), _HEARD
            )

    def clear(self) -> None:
        """Forget what was heard, but for the status."""
        self.labels: dict[str, list[tuple[float, float]]] = {camera: [] for camera in self.cameras}
        self.sent = dict.fromkeys(self.cameras, 0)
        self.memory: list[tuple[float, float]] = []

    def listen(self, *outputs: str) -> None:
        """Subscribe to outputs of every camera; nothing is done with those that are not labels."""
        for output in outputs:
            kind = SegmentationSummary if output == "summary" else Image
            self._subscriptions[output] = [
                self._node.create_subscription(
                    kind,
                    f"{camera}/segmentation/{output}",
                    partial(self._on_labels, camera) if output == "labels" else lambda _: None,
                    _HEARD,
                )
                for camera in self.cameras
            ]

    def leave(self, *outputs: str) -> None:
        """Subscribe no more."""
        for output in outputs:
            for subscription in self._subscriptions.pop(output):
                self._node.destroy_subscription(subscription)

    def spin(self, seconds: float, until: Callable[[], object] = lambda: False) -> float:
        """Listen for so long, or until something is true; the seconds that it took."""
        start = time.monotonic()
        while (now := time.monotonic()) < start + seconds and not until():
            self._executor.spin_once(timeout_sec=0.05)
            if not self.memory or now > self.memory[-1][0] + _SAMPLED:
                self.memory.append((now, self.process.memory_info().rss / 2**20))
        return time.monotonic() - start

    def wait(self, until: Callable[[], object], what: str) -> float:
        """The seconds until something is true. Raises SystemExit where it does not come true."""
        seconds = self.spin(_PATIENCE, until)
        if not until():
            raise SystemExit(f"no {what} within {_PATIENCE:.0f} s")
        return seconds

    def arrivals(self) -> list[tuple[float, float]]:
        """Those of all cameras, the first one first."""
        return sorted(one for labels in self.labels.values() for one in labels)

    def inference_ms(self) -> float:
        """Median of the newest frames, as the node says. Raises SystemExit where it does not."""
        self.wait(lambda: _INFERENCE in self.status, "stage times on /diagnostics")
        return float(self.status[_INFERENCE].split("/")[0])

    def _on_sent(self, camera: str, _: CameraInfo) -> None:
        self.sent[camera] += 1

    def _on_labels(self, camera: str, message: Image) -> None:
        now = self._node.get_clock().now().nanoseconds
        self.labels[camera].append((time.monotonic(), (now - stamp_ns(message.header)) * 1e-6))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            if "published rate (Hz)" in values and (self.cameras[0] in status.name or len(self.cameras) == 1):
                self.status = values


@contextmanager
def listening(run: Run) -> Iterator[Listener]:
    """Cameras, node and busy loops, in a domain of their own; outputs are subscribed to, and nothing is waited for."""
    profile, domain = large_message_environment(os.environ), random.randint(1, 100)
    with ExitStack() as stack:
        os.environ.update(profile)  # this process hears through it, too
        for name in profile:
            stack.callback(os.environ.pop, name)
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        parameters = node_parameters(run.model, run.work) if run.work else [f"model:={run.model}"]
        parameters.append(f"cameras:=[{', '.join(run.cameras)}]")
        for camera, rate in zip(run.cameras, run.rates, strict=True):
            source = ("source:=folder", f"folder:={run.folder}", f"rate:={float(rate)}")
            stack.enter_context(running(_arguments("camera_node", source, camera), environment=environment))
        node = stack.enter_context(running(_arguments("segmentation_node", parameters), environment=environment))
        if run.cores:
            os.sched_setaffinity(node.pid, sorted(os.sched_getaffinity(0))[: run.cores])
        stack.enter_context(busy_loops(run.busy))
        context = rclpy.Context()
        context.init(domain_id=domain)
        stack.callback(context.try_shutdown)
        listener = Listener(context, run.cameras, psutil.Process(node.pid))
        listener.listen(*run.outputs)
        yield listener


def _arguments(module: str, parameters: Sequence[str], namespace: str = "") -> list[str]:
    given = [part for parameter in parameters for part in ("-p", parameter)]
    given += ["-r", f"__ns:=/{namespace}"] if namespace else []
    return ["-m", f"asymformer_ros.node.{module}", "--ros-args", "--log-level", "warn", *given]


def labelled(listener: Listener) -> None:
    """Wait until labels of each camera come, and for a warm-up. Raises SystemExit where none come."""
    listener.wait(lambda: all(listener.labels.values()), "label of each camera")
    listener.spin(_WARM_UP)


def measure(run: Run) -> dict[str, Any]:
    """A stream of labels from its first ones on; see `stream`. Raises SystemExit where no label comes."""
    with listening(run) as listener:
        labelled(listener)
        return stream(listener, run.seconds)


def cores(listener: Listener, seconds: float, labels: int = 0) -> tuple[float, float]:
    """What the node takes of the processor while this listens for so many seconds, and how many they were.

    labels: how many come at least meanwhile, however long it takes.
    """
    before = listener.process.cpu_times()
    wall = listener.spin(seconds) + listener.wait(lambda: len(listener.arrivals()) >= labels, "labels")
    after = listener.process.cpu_times()
    return (after.user + after.system - before.user - before.system) / wall, wall


def stream(listener: Listener, seconds: float) -> dict[str, Any]:
    """What comes within so many seconds, longer where ten labels take longer.

    Rates in Hz, ages and inference in ms, cores and MiB of the node. age_slope_ms_per_s and memory_slope_mib_per_s are
    by least squares; where a queue grew, so would they.
    """
    listener.clear()
    used, wall = cores(listener, seconds, _FEWEST)
    came = np.array(listener.arrivals())
    memory = np.array(listener.memory)
    p50, p99 = np.percentile(came[:, 1], (50, 99))
    figures = {
        "sent_hz": sum(listener.sent.values()) / wall,
        "labels_hz": len(came) / wall,
        "dropped": max(0.0, 1 - len(came) / max(1, sum(listener.sent.values()))),
        "age_p50_ms": p50,
        "age_p99_ms": p99,
        "inference_ms": listener.inference_ms(),
        "age_slope_ms_per_s": np.polyfit(*came.T, 1)[0],
        "memory_slope_mib_per_s": np.polyfit(*memory.T, 1)[0],
        "rss_mib": memory[-1, 1],
        "cores": used,
    }
    return {name: round(float(value), 2) for name, value in figures.items()}


def command_line_of_node(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that each benchmark of the node has."""
    parser = command_line(description)
    parser.add_argument("--folder", type=Path, default=GOLDEN_FRAMES, help="a recording (default: the package's own)")
    parser.add_argument("--seconds", type=float, default=10.0, help="that each row is measured (default: 10)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """One stream. Returns 0."""
    parser = command_line_of_node(__doc__)
    parser.add_argument("--model", default="demo", help="known name, bundle, .onnx file (default: demo)")
    parser.add_argument("--rates", default="30", help="of the cameras, Hz, with commas between (default: 30)")
    parser.add_argument("--busy", type=int, default=0, help="busy loops beside (default: 0)")
    parser.add_argument("--outputs", default="labels", help=f"some of {','.join(ALL)} (default: labels)")
    args = parser.parse_args(argv)
    rates, outputs = tuple(float(rate) for rate in args.rates.split(",")), tuple(args.outputs.split(","))
    seconds = 3.0 if args.quick else args.seconds
    with work_folder(args) as work:
        figures = measure(Run(args.model, rates, args.busy, outputs, 0, seconds, args.folder, work))
    return finish(args, figures, table_of([figures]))


if __name__ == "__main__":
    sys.exit(main())
