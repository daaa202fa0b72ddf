"""The node's life in every order, a hundred times over, and with rubbish in qos_overrides: nothing is left over."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("psutil", reason="looks at a process")
pytest.importorskip("onnxruntime", reason="a small ONNX file is served")
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import ReliabilityPolicy
from test_onnxruntime import foreign_file

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.node.parameters import declare, qos_overrides

pytestmark = pytest.mark.ros
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
NEXT = {
    ("unconfigured", "configure"): "inactive",
    ("inactive", "activate"): "active",
    ("inactive", "cleanup"): "unconfigured",
    ("active", "deactivate"): "inactive",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_file(tmp_path_factory.mktemp("model") / "tiny.onnx")


def arguments(model: Path, *more: str) -> list[str]:
    """Of a node that a manager leads."""
    given = ("-p", f"model:={model}", "-p", "backend:=onnxruntime", "-p", "autostart:=false")
    return ["--ros-args", *given, *more, "--log-level", "error"]


@pytest.fixture
def make_node(model: Path) -> Iterator[Callable[..., Any]]:
    """Makes a node of the default context, in this process, that a manager would lead."""
    from asymformer_ros.node.segmentation_node import SegmentationNode

    nodes: list[Any] = []

    def make(*more: str) -> Any:
        rclpy.init(args=arguments(model, *more))
        nodes.append(SegmentationNode())
        return nodes[-1]

    yield make
    for node in nodes:
        node.release()
        node.destroy_node()
    rclpy.try_shutdown()


def state(node: Any) -> str:
    return str(node._state_machine.current_state[1])


LIVES = """
import json, sys, psutil, rclpy
from asymformer_ros.node.segmentation_node import SegmentationNode
from rclpy.lifecycle import TransitionCallbackReturn
rclpy.init(args=sys.argv)
node, process = SegmentationNode(), psutil.Process()
def live(times):
    for _ in range(times):
        for name in ("configure", "activate", "deactivate", "cleanup"):
            assert getattr(node, f"trigger_{name}")() == TransitionCallbackReturn.SUCCESS
    return process.num_threads(), process.num_fds(), len(list(node.publishers)), len(list(node.subscriptions))
before, memory = live(10), process.memory_info().rss
print(json.dumps([before, live(90), process.memory_info().rss - memory]))
"""


def test_a_hundred_lives_leave_memory_threads_files_and_topics_as_they_were(model: Path) -> None:
    """In a process of its own: threads of other tests take memory and give it back in this one."""
    command = [sys.executable, "-c", LIVES, *arguments(model)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout
    before, after, grown = json.loads(told.splitlines()[-1])
    assert after == before
    assert grown < 10 * 2**20


def test_transitions_in_every_order_do_what_the_state_allows_and_nothing_else(make_node: Callable[..., Any]) -> None:
    node = make_node()
    names = ("configure", "activate", "deactivate", "cleanup")
    for order in itertools.product(names, repeat=4):
        expected = "unconfigured"
        for name in order:
            allowed = (expected, name) in NEXT
            try:
                assert (getattr(node, f"trigger_{name}")() == SUCCESS) is allowed
            except rclpy._rclpy_pybind11.RCLError:  # how rclpy refuses what the state does not allow
                assert not allowed
            expected = NEXT.get((expected, name), expected)
            assert state(node) == expected
        assert bool(list(node.subscriptions)) is (expected == "active")
        while state(node) != "unconfigured":
            getattr(node, "trigger_deactivate" if state(node) == "active" else "trigger_cleanup")()


@pytest.mark.parametrize("steps", [(), ("configure",), ("configure", "activate")])
def test_a_shutdown_ends_every_state_and_frees_what_it_held(steps: tuple[str, ...], make_node: Any) -> None:
    node = make_node()
    for name in steps:
        assert getattr(node, f"trigger_{name}")() == SUCCESS
    assert node.trigger_shutdown() == SUCCESS
    assert state(node) == "finalized"
    assert not list(node.subscriptions)


@pytest.mark.parametrize(
    ("override", "at"),
    [
        ("/rgb/image.subscription.reliability:=rubbish", "activate"),
        ("/depth/image.subscription.depth:=-3", "activate"),
        ("/rgb/camera_info.subscription.depth:=soon", "activate"),
        ("/segmentation/summary.publisher.durability:=1", "configure"),
    ],
)
def test_rubbish_in_qos_overrides_is_refused_and_leaves_nothing_behind(override: str, at: str, make_node: Any) -> None:
    node = make_node("-p", f"qos_overrides.{override}")
    if at == "activate":
        assert node.trigger_configure() == SUCCESS
    before = len(list(node.publishers)), len(list(node.subscriptions)), threading.active_count()
    for _ in range(2):
        assert getattr(node, f"trigger_{at}")() == FAILURE
        assert (len(list(node.publishers)), len(list(node.subscriptions)), threading.active_count()) == before


def test_the_refusal_of_an_override_names_topic_value_and_what_is_expected() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"topic a/b .* `rubbish`; expected history keep_last or keep_all, dep"),
        qos_overrides("a/b"),
    ):
        raise RuntimeError("Unexpected QoS override for policy `reliability`: `rubbish`")
    with pytest.raises(ConfigurationError, match="topic a/b"), qos_overrides("a/b"):
        raise ParameterException("wrong type", "a")


def test_an_override_of_one_topic_changes_no_other(make_node: Callable[..., Any]) -> None:
    node = make_node("-p", "qos_overrides./rgb/image.subscription.reliability:=reliable")
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    qos = {one.topic_name: one.qos_profile.reliability for one in node.subscriptions}
    assert qos["/rgb/image"] == ReliabilityPolicy.RELIABLE
    assert qos["/depth/image"] == qos["/rgb/camera_info"] == ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("slop:=-1.0", "parameter slop is -1.0: expected a value from 0.0 to 10.0"),
        ("max_pixels:=0", "parameter max_pixels is 0: expected a value from 1 to 67108864"),
    ],
)
def test_a_value_out_of_its_range_is_told_with_the_range(given: str, told: str) -> None:
    context = rclpy.Context()
    context.init()
    try:
        with pytest.raises(ConfigurationError, match=f"^{told}$"):
            declare(rclpy.node.Node("ranges", context=context, cli_args=["--ros-args", "-p", given]))
    finally:
        context.shutdown()
