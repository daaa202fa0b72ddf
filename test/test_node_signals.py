"""A node ends when it is told to, whatever it does at the moment: processes of their own, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_harness import free_domain, wait_until

pytestmark = pytest.mark.ros
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("slow", ["build", "library"])
def test_a_signal_ends_a_node_that_loads_its_model(
    slow: str, number: int, start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("SLOW", slow)
    node = start_node(free_domain(), module="node_with_a_slow_model")
    node.wait_for("loading")
    start = time.monotonic()
    assert node.stop(number) == 0
    assert time.monotonic() - start < 15
    assert "Traceback" not in node.output


def test_a_node_that_builds_tells_how_far_it_is_and_a_managed_one_can_be_stopped(
    start_peer: Any, start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("SLOW", "build")
    peer, domain = start_peer()
    node = start_node(domain, module="node_with_a_slow_model")
    status = peer.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: status, "diagnostics during the build")
    assert {one.key: one.value for one in status[-1].status[0].values}["engine"] == "building: tactics 3/9, 5 s"
    assert node.stop() == 0
    managed = start_node(domain, "-p", "autostart:=false", module="node_with_a_slow_model")
    client = peer.node.create_client(ChangeState, "/segmentation_node/change_state")
    assert client.wait_for_service(60)
    client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    managed.wait_for("loading")
    assert managed.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["segmentation_node", "camera_node"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_a_node_is_being_imported_ends_it_with_0(name: str, number: int) -> None:
    code = "import sys; from asymformer_ros.node.start import start; print('starts', flush=True); sys.exit(start({!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code.format(name), "--ros-args", "-p", "model:=untrained"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "starts\n"
    time.sleep(0.1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output
