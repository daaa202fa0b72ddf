"""/diagnostics through diagnostic_updater's Updater where it is installed, and through its stand-in: one contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import free_domain, wait_until

from asymformer_ros.node import diagnostics
from asymformer_ros.optional import installed

pytestmark = pytest.mark.ros


@pytest.fixture(params=["stand-in", "diagnostic_updater"])
def array(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[DiagnosticArray]:
    """What a node in a namespace, on a simulated time that nobody publishes, tells of itself the second time."""
    if request.param == "diagnostic_updater" and not installed("diagnostic_updater"):
        pytest.skip("diagnostic_updater comes with a ROS installation only")
    if request.param == "stand-in":
        monkeypatch.setattr(diagnostics, "Updater", diagnostics.StandIn)
    context = rclpy.Context()
    context.init(domain_id=free_domain())
    given = [Parameter(diagnostics.PERIOD, value=0.1), Parameter("use_sim_time", value=True)]
    node = Node("segmentation_node", namespace="robot", context=context, parameter_overrides=given)
    heard: list[Any] = []
    node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        diagnostics.Diagnostics(node, lambda: [status()])
        wait_until(lambda: executor.spin_once(0.05) or len(heard) > 1, "two arrays")
        yield heard[-1]
    finally:
        executor.shutdown()
        node.destroy_node()
        context.shutdown()


def status() -> DiagnosticStatus:
    values = [KeyValue(key="backend", value="torch")]
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN, name="segmentation front", message="odd", hardware_id="Orin", values=values
    )


def test_statuses_go_out_by_the_node_s_full_name_in_the_period_asked_for_whatever_its_clock(
    array: DiagnosticArray,
) -> None:
    (told,) = array.status
    assert told.name == "/robot/segmentation_node: segmentation front"
    assert (told.level, told.message, told.hardware_id) == (DiagnosticStatus.WARN, "odd", "Orin")
    assert [(value.key, value.value) for value in told.values] == [("backend", "torch")]
