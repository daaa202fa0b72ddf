"""Run the node for a long time while everything around it goes wrong, and say what came of it.

    scripts/soak --minutes 60 --output benchmarks/results

A camera of this script's own sends frames for a minute as they should be, then for a minute with one to three random
faults in every second frame, and so on. In the faulty minutes the camera is killed and started again, the node's clock
becomes a simulated one that jumps, the node is deactivated and disabled, and subscribers come and go; one never reads.
Writes soak.md, soak.json and, where matplotlib is installed, soak.png. Exits with 1 where the node ended, raised, or
served no frame of the last calm minute.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from measuring import running
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from soak_camera import LARGE_FIRST, RENEWED, SETTLING, is_calm, until_calm
from soak_report import Soak, problems, write_report
from std_msgs.msg import String

from asymformer_ros.msg import SegmentationSummary
from asymformer_ros.node.fastdds import large_message_environment

_SAMPLE_EVERY, _TROUBLE_EVERY = 10.0, 12.0  # seconds
_REPORT_EVERY = 30  # samples
_HERE = Path(__file__).parent


class Surroundings(Node):
    """What is around the node but the camera: a consumer, a clock, a lifecycle manager; and all that they hear."""

    def __init__(self, soak: Soak, seed: int) -> None:
        super().__init__("soak")
        self._soak, self._random = soak, random.Random(seed)
        self.create_subscription(String, "soak/sent", self._on_sent, QoSProfile(depth=200))
        self.create_subscription(Image, "segmentation/labels", self._on_labels, 10)
        self.create_subscription(SegmentationSummary, "segmentation/summary", lambda _: None, 10)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._simulated_clock = self.create_publisher(Clock, "/clock", 10)
        self._change_state = self.create_client(ChangeState, "segmentation_node/change_state")
        self._set_parameters = self.create_client(SetParameters, "segmentation_node/set_parameters")
        self._clock_offset = 0
        self.create_timer(0.05, self._publish_clock)
        self.create_timer(1.0, self._jump)
        self._overlay: Any = None
        self._undo: list[Any] = []

    def trouble(self) -> str:
        """Make one of the troubles, end the ones before it, and tell its name."""
        self.settle()
        troubles = (
            self._simulated_time, self._deactivated, self._disabled, self.one_more_subscriber
        )  # fmt: skip
        return self._random.choice(troubles)()

    def settle(self) -> None:
        """End every trouble."""
        for undo in self._undo:
            undo()
        self._undo = []

    def renew(self) -> None:
        """End every trouble, and have the node make its subscriptions anew."""
        self.settle()
        self._change(Transition.TRANSITION_DEACTIVATE)
        self._change(Transition.TRANSITION_ACTIVATE)

    def _simulated_time(self) -> str:
        self._set("use_sim_time", True)
        self._undo.append(lambda: self._set("use_sim_time", False))
        return "node's clock becomes a simulated one that jumps"

    def _deactivated(self) -> str:
        self._change(Transition.TRANSITION_DEACTIVATE)
        self._undo.append(lambda: self._change(Transition.TRANSITION_ACTIVATE))
        return "node deactivated and activated"

    def _disabled(self) -> str:
        self._set("enabled", False)
        self._undo.append(lambda: self._set("enabled", True))
        return "node disabled and enabled"

    def one_more_subscriber(self) -> str:
        """Have the overlay made, until it is settled."""
        self._overlay = self.create_subscription(Image, "segmentation/overlay", lambda _: None, 10)
        self._undo.append(lambda: self.destroy_subscription(self._overlay))
        return "subscriber comes and goes"

    def _set(self, name: str, value: object) -> None:
        parameter = Parameter(name, value=value).to_parameter_msg()
        self._set_parameters.call_async(SetParameters.Request(parameters=[parameter]))

    def _change(self, transition: int) -> None:
        self._change_state.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def _publish_clock(self) -> None:
        now = time.time_ns() + self._clock_offset
        self._simulated_clock.publish(Clock(clock=Time(sec=now // 10**9, nanosec=now % 10**9)))

    def _jump(self) -> None:
        self._clock_offset = self._random.choice((0, 0, 10**9, -(10**9), 3600 * 10**9, -3600 * 10**9))

    def _on_sent(self, message: String) -> None:
        self._soak.sent.append(json.loads(message.data))

    def _on_labels(self, message: Image) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self._soak.labelled.append((stamp, time.monotonic_ns()))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if "segmentation_node" in status.name:
                self._soak.told(status, is_calm(self._soak.start_ns * 1e-9))


@contextlib.contextmanager
def logged(*command: str, output: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block. output: a file for what it says."""
    with open(output or os.devnull, "ab") as file, running(command, file) as process:
        yield process


class Camera:
    """The camera's process, which can be killed and started again."""

    def __init__(self, rate: float, start: float, seed: int, output: Path) -> None:
        self._rate, self._start, self._seed, self.output = rate, start, seed, output
        self._stack = contextlib.ExitStack()
        self.restart()

    def restart(self) -> str:
        """Kill it, and start one with the next seed."""
        self.close()
        self._seed += 1
        script = str(_HERE / "soak_camera.py")
        arguments = (str(self._seed), str(self._rate), str(self._start))
        self.process = self._stack.enter_context(logged(script, *arguments, output=self.output))
        return "camera killed and started again"

    def close(self) -> None:
        """Kill it."""
        if hasattr(self, "process"):
            self.process.kill()
        self._stack.close()


def run(arguments: argparse.Namespace, work: Path) -> Soak:
    """The whole run; it ends early where the node ends."""
    soak = Soak(seed=arguments.seed, rate=arguments.rate, model=arguments.model, minutes=arguments.minutes)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    parameters = (f"model:={arguments.model}", "max_age:=5.0")
    options = [part for parameter in parameters for part in ("-p", parameter)]
    rclpy.init()
    soak.journal, soak.node_log = work / "journal", work / "node.log"
    os.environ["SOAK_JOURNAL"] = str(soak.journal)
    node_command = (str(_HERE / "soak_node.py"), "--ros-args", *options)
    with logged(*node_command, output=soak.node_log) as node, logged(*_never_reads()):
        surroundings = Surroundings(soak, arguments.seed)
        while not surroundings.count_publishers("segmentation/labels") and node.poll() is None:
            rclpy.spin_once(surroundings, timeout_sec=0.5)
        start = time.monotonic()
        camera = Camera(arguments.rate, start, arguments.seed, work / "camera.log")
        try:
            _watch(soak, surroundings, node, camera, start, arguments.output)
        finally:
            camera.close()
    rclpy.try_shutdown()
    soak.exit_code = node.returncode
    return soak


def _never_reads() -> tuple[str, str]:
    """A process that subscribes to the labels and never takes one."""
    code = (
        "import rclpy, time; from sensor_msgs.msg import Image; rclpy.init(); node = rclpy.create_node('never_reads');"
        "kept = node.create_subscription(Image, 'segmentation/labels', print, 1000); time.sleep(10**6)"
    )
    return "-c", code


def _watch(soak: Soak, surroundings: Surroundings, node: Any, camera: Camera, start: float, output: Path) -> None:
    """Look at the node until the end; what is known is written now and then."""
    process = psutil.Process(node.pid)
    soak.start_ns = int(start * 1e9)
    next_sample = next_trouble = start
    choose = random.Random(soak.seed)
    end = start + soak.minutes * 60
    renewed = False
    surroundings.one_more_subscriber()
    while (now := time.monotonic()) < end and node.poll() is None:
        if camera.process.poll() is not None:
            soak.troubles[f"the soak's own camera ended with {camera.process.returncode}"] += 1
            _kill(camera, soak)
        rclpy.spin_once(surroundings, timeout_sec=0.5)
        if now >= next_sample:
            next_sample += _SAMPLE_EVERY
            soak.sample(now - start, is_calm(start), process)
            if len(soak.samples) % _REPORT_EVERY == 0:
                write_report(soak, output, with_plot=False)
        if until_calm(start) <= RENEWED:
            if not renewed and now - start > LARGE_FIRST:
                surroundings.renew()
                renewed = True
        elif until_calm(start) <= SETTLING:
            surroundings.settle()
        elif now >= next_trouble:
            next_trouble = now + _TROUBLE_EVERY
            renewed = False
            name = _kill(camera, soak) if choose.random() < 0.3 else surroundings.trouble()
            soak.troubles[name] += 1
    soak.crashed = node.poll() is not None


def _kill(camera: Camera, soak: Soak) -> str:
    soak.kills.append(time.monotonic_ns())
    return camera.restart()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=6.0, help="of the camera, Hz")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seed", type=int, default=None, help="of all faults; a new one where none is given")
    parser.add_argument("--output", type=Path, default=Path("build/soak"), help="folder for the table and the plot")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.randrange(10**6)
    print(f"seed {arguments.seed}", flush=True)
    os.environ.update(large_message_environment(os.environ))
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randrange(1, 100)))
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        soak = run(arguments, Path(work))
        print(write_report(soak, arguments.output))
        if wrong := problems(soak):
            (arguments.output / "node.log").write_text(soak.log)
            print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
