"""Processes and a test-side node for end-to-end tests over real DDS."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from std_msgs.msg import Header

from asymformer_ros.node.fastdds import large_message_environment

os.environ.update(large_message_environment(os.environ))  # before this process makes its first participant

TIMEOUT = 60.0


class RosProcess:
    """A module of the package running as a process of its own; its output is kept as text."""

    def __init__(self, module: str, *arguments: str, domain: int) -> None:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--ros-args", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.domain = domain
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def output(self) -> str:
        """All that it printed so far."""
        return "".join(list(self._lines))

    def wait_for(self, pattern: str, timeout: float = TIMEOUT) -> str:
        """Wait until the output holds a match and return the output."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if re.search(pattern, self.output):
                return self.output
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no '{pattern}' in the output (exit code {self.process.poll()}):\n{self.output}")

    def require_alive(self) -> bool:
        """Fail with its output where it has ended; True otherwise."""
        assert self.process.poll() is None, f"the process ended with {self.process.poll()}:\n{self.output}"
        return True

    def stop(self, signal_number: int = signal.SIGINT, *, group: bool = False) -> int:
        """Send a signal, to its whole process group where `group`, and return the exit code."""
        if group:
            os.killpg(self.process.pid, signal_number)
        else:
            self.process.send_signal(signal_number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the process did not end:\n{self.output}") from None
        self._reader.join(5)
        return code

    def kill(self) -> None:
        """End it at once, for clean-up."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Peer:
    """A node of the test's own, in a domain of its own, spinning in a thread: the camera and the consumer."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        self.context.init(domain_id=domain)
        self.node = Node(f"peer_{random.randrange(10**6)}", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self.context.shutdown()
        self._thread.join(5)

    def listen(self, message_type: type, topic: str, qos: QoSProfile | int = 10) -> list[Any]:
        """Subscribe; the list grows with each message."""
        received: list[Any] = []
        self.node.create_subscription(message_type, topic, received.append, qos)
        return received

    def advertise(self, message_type: type, topic: str) -> Any:
        return self.node.create_publisher(message_type, topic, qos_profile_sensor_data)

    def call(self, service_type: type, name: str, request: Any) -> Any:
        """Call a service and return its response.

        The middleware loses an answer to a client that the server has not discovered yet, which `wait_for_service`
        cannot see. So a client that was not answered asks once more.
        """
        client = self.node.create_client(service_type, name)
        assert client.wait_for_service(TIMEOUT), f"no service {name}"
        futures = [client.call_async(request)]
        with contextlib.suppress(AssertionError):
            wait_until(futures[0].done, f"an answer of {name}", TIMEOUT / 3)
        if not futures[0].done():
            futures.append(client.call_async(request))
        wait_until(lambda: any(future.done() for future in futures), f"an answer of {name}")
        self.node.destroy_client(client)
        return next(future.result() for future in futures if future.done())


def wait_until(condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> None:
    """Wait until a condition holds, or fail naming what was waited for."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout:.0f} s in vain for {what}"
        time.sleep(0.01)


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OWN = range(1 + _WORKER, 101, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))  # no other worker of this run
_DOMAINS = itertools.cycle(random.sample(_OWN, len(_OWN)))


def free_domain() -> int:
    """A ROS domain that nobody on this machine uses: nodes of several tests, and of several runs, live side by side."""
    return next(domain for domain in itertools.islice(_DOMAINS, len(_OWN)) if _is_free(domain))


def _is_free(domain: int) -> bool:
    """Whether nobody listens on the port on which DDS discovers in this domain."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain))
        except OSError:
            return False
    return True


def header(stamp_ns: int, frame_id: str = "camera_color_optical_frame") -> Header:
    return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)


def stamps(messages: Sequence[Any]) -> list[int]:
    """The stamps of messages in nanoseconds, in order of arrival."""
    return [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for message in messages]
