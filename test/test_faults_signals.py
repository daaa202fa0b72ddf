"""A signal in every state of the lifecycle, to the process or to its group; and a start after a node was killed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("onnxruntime", reason="a small ONNX file is served")
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_session import Session
from ros_harness import RosProcess, wait_until
from test_onnxruntime import foreign_file

pytestmark = pytest.mark.ros
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
STATES = {
    "unconfigured": (),
    "inactive": (CONFIGURE,),
    "active": (CONFIGURE, ACTIVATE),
    "inactive_again": (CONFIGURE, ACTIVATE, Transition.TRANSITION_DEACTIVATE),
    "finalized": (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,),
}
CASES = [
    ("unconfigured", signal.SIGINT, "group"),
    ("unconfigured", signal.SIGHUP, "process"),
    ("inactive", signal.SIGTERM, "process"),
    ("inactive_again", signal.SIGINT, "process"),
    ("active", signal.SIGHUP, "group"),
    ("active", signal.SIGTERM, "group"),
    ("finalized", signal.SIGTERM, "group"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_file(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def managed(start_peer: Any, start_node: Any, model: Path) -> tuple[Any, list[RosProcess]]:
    """A node for each case, all started at once."""
    peer, domain = start_peer()
    options = ("-p", "autostart:=false", "-p", "backend:=onnxruntime")
    names = [f"__ns:=/case_{number}" for number in range(len(CASES))]
    return peer, [start_node(domain, "-r", name, *options, model=str(model)) for name in names]


@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES])
def test_a_signal_ends_the_node_with_0_in_every_state(number: int, managed: tuple[Any, list[RosProcess]]) -> None:
    state, signal_number, receiver = CASES[number]
    peer, nodes = managed
    node, service = nodes[number], f"/case_{number}/segmentation_node/change_state"
    client = peer.node.create_client(ChangeState, service)
    wait_until(lambda: node.require_alive() and client.service_is_ready(), "the node")
    for transition in STATES[state]:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert peer.call(ChangeState, service, request).success
    if state == "active":
        Session(peer, node, f"/case_{number}").listen("labels").connected().exchange()
    assert node.stop(signal_number, group=receiver == "group") == 0
    assert "Traceback" not in node.output


def test_a_node_that_is_killed_can_be_started_again_at_once(start_peer: Any, start_node: Any, model: Path) -> None:
    peer, domain = start_peer()
    for _ in range(2):
        node = start_node(domain, "-p", "backend:=onnxruntime", model=str(model))
        Session(peer, node).listen("labels").connected().exchange()
        assert node.stop(signal.SIGKILL, group=True) == -signal.SIGKILL
