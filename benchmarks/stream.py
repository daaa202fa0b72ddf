"""Segment a recorded folder, published by one process at camera rate, with the node in another, and measure.

Prints rate, age, stage times and memory, and whether each output is what it should be; exits with 1 where one is not.

    python benchmarks/stream.py FOLDER --seconds 60 --model untrained_full
    python benchmarks/stream.py FOLDER --attach     # the camera and the node run already, under ros2 launch say
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.fastdds import large_message_environment

NODE, CAMERA = "asymformer_ros.node.segmentation_node", "asymformer_ros.node.camera_node"
IMAGES = {"labels": "mono8", "color": "rgb8", "overlay": "rgb8", "confidence": "mono8"}
STAGES = ("convert", "preprocess", "inference", "postprocess", "age")


class Consumer(Node):
    """Takes every output, notes its age on arrival and what is wrong with it."""

    def __init__(self) -> None:
        super().__init__("stream_consumer")
        self.sent: dict[int, CameraInfo] = {}
        self.received: dict[str, list[int]] = {name: [] for name in (*IMAGES, "summary", "camera_info")}
        self.ages: list[float] = []
        self.stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.problems: set[str] = set()
        heard = QoSProfile(
            depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT
        )  # none is lost while this process is held up
        self.create_subscription(CameraInfo, "rgb/camera_info", self._on_sent, heard)
        for name in IMAGES:
            self.create_subscription(Image, f"segmentation/{name}", self._image_callback(name), 10)
        self.create_subscription(SegmentationSummary, "segmentation/summary", self._on_summary, 10)
        self.create_subscription(CameraInfo, "segmentation/camera_info", lambda m: self._note("camera_info", m), 10)

    def _on_sent(self, info: CameraInfo) -> None:
        self.sent[_stamp(info)] = info

    def _image_callback(self, name: str) -> Callable[[Image], None]:
        def on_image(message: Image) -> None:
            self._note(name, message)
            if message.encoding != IMAGES[name] or message.step * message.height != len(message.data):
                self.problems.add(
                    f"{name}: encoding {message.encoding}, step {message.step}, {len(message.data)} bytes"
                )
            if name == "labels":
                self.ages.append((self.get_clock().now().nanoseconds - _stamp(message)) * 1e-6)

        return on_image

    def _on_summary(self, summary: SegmentationSummary) -> None:
        self._note("summary", summary)
        for stage in STAGES:
            self.stages[stage].append(getattr(summary, f"{stage}_ms"))

    def _note(self, name: str, message: Any) -> None:
        if self.received[name] and _stamp(message) <= self.received[name][-1]:
            self.problems.add(f"{name}: a frame came twice, or after a newer one")
        self.received[name].append(_stamp(message))
        camera = self.sent.get(_stamp(message))
        if not self.sent or _stamp(message) < next(iter(self.sent)):
            return  # taken before this process heard the camera
        if camera is None or message.header.frame_id != camera.header.frame_id:
            self.problems.add(f"{name}: header {message.header} is not of a colour image")
        elif hasattr(message, "width") and (message.width, message.height) != (camera.width, camera.height):
            self.problems.add(f"{name}: {message.width}x{message.height} from a {camera.width}x{camera.height} image")


def _stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def start(module: str, *parameters: str) -> subprocess.Popen[bytes]:
    """Run one of the package's nodes with parameters as `name:=value`."""
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    return subprocess.Popen([sys.executable, "-m", module, "--ros-args", *arguments])


def node_process(seconds: float = 60) -> psutil.Process:
    """The running segmentation node, whoever started it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in psutil.process_iter(["cmdline"]):
            if any(part.endswith(("segmentation_node", NODE)) for part in (process.info["cmdline"] or [])[1:3]):
                return process
        time.sleep(0.2)
    raise SystemExit("no segmentation_node is running on this machine")


def watch(consumer: Consumer, node: psutil.Process, seconds: float) -> dict[str, float]:
    """Spin for `seconds` after the first output; memory of the node in MiB by second."""
    while not consumer.ages:
        if not node.is_running():
            raise SystemExit("the segmentation node has ended")
        rclpy.spin_once(consumer, timeout_sec=0.5)
    memory, begin = {}, time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        rclpy.spin_once(consumer, timeout_sec=0.5)
        memory.setdefault(f"{int(elapsed)}", node.memory_info().rss / 2**20)
    return memory


def summarize(consumer: Consumer, memory: dict[str, float], seconds: float) -> dict[str, Any]:
    """All figures as JSON values; times in milliseconds as [p50, p95, p99]."""

    def percentiles(values: list[float]) -> list[float]:
        return [round(float(value), 1) for value in np.percentile(values, (50, 95, 99))]

    for name, stamps in consumer.received.items():  # the first and last frames may be on their way
        missing = set(consumer.received["labels"][3:-3]) - set(stamps)
        if missing:
            consumer.problems.add(f"{name}: {len(missing)} frames of {len(consumer.ages)} have labels but not this")
    return {
        "camera_hz": round((len(consumer.sent) - 1) * 1e9 / (max(consumer.sent) - min(consumer.sent)), 1),
        "labels_hz": round(len(consumer.ages) / seconds, 2),
        "age_on_arrival_ms": percentiles(consumer.ages),
        "stages_ms": {stage: percentiles(values) for stage, values in consumer.stages.items() if values},
        "memory_mib": {second: round(memory[second]) for second in memory if int(second) % 10 == 0 or int(second) == 5}
        | {"end": round(list(memory.values())[-1])},
        "problems": sorted(consumer.problems),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start what has to be started, watch, stop it, and return the figures."""
    processes: list[subprocess.Popen[bytes]] = []
    rclpy.init()
    try:
        if not arguments.attach:
            processes.append(start(CAMERA, "source:=folder", f"folder:={arguments.folder}", f"rate:={arguments.rate}"))
            processes.append(start(NODE, f"model:={arguments.model}", f"backend:={arguments.backend}"))
        consumer = Consumer()
        node = node_process()
        memory = watch(consumer, node, arguments.seconds)
        result = summarize(consumer, memory, arguments.seconds)
    finally:
        codes = {}
        for process, number in zip(reversed(processes), (signal.SIGINT, signal.SIGTERM), strict=False):
            process.send_signal(number)
            codes[signal.Signals(number).name] = process.wait(30)
        rclpy.try_shutdown()
    return {**result, "exit_codes": codes}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="frames, named as asymformer_ros.frames.recording expects")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=30.0, help="of the camera, Hz")
    parser.add_argument("--model", default="untrained_full")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--attach", action="store_true", help="measure nodes that run already")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    if not arguments.attach and arguments.folder is None:
        parser.error("name a folder of frames, or --attach to nodes that run already")
    os.environ.update(large_message_environment(os.environ))
    result = measure(arguments)
    for key, value in result.items():
        print(f"{key:18} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2))
    return 1 if result["problems"] or any(result["exit_codes"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
