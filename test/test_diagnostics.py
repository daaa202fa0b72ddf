"""/diagnostics through diagnostic_updater's Updater where it is installed, and through its stand-in: one contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import free_domain, wait_until

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.node import diagnostics
from asymformer_ros.optional import installed

pytestmark = pytest.mark.ros


@pytest.fixture(params=["stand-in", "diagnostic_updater"])
def updater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One Updater after the other."""
    if request.param == "diagnostic_updater" and not installed("diagnostic_updater"):
        pytest.skip("diagnostic_updater comes with a ROS installation only")
    if request.param == "stand-in":
        monkeypatch.setattr(diagnostics, "Updater", diagnostics.StandIn)


@contextmanager
def node_with(period: object) -> Iterator[Node]:
    """A node in a namespace, on a simulated time that nobody publishes."""
    context = rclpy.Context()
    context.init(domain_id=free_domain())
    given = [Parameter(diagnostics.PERIOD, value=period), Parameter("use_sim_time", value=True)]
    node = Node("segmentation_node", namespace="robot", context=context, parameter_overrides=given)
    try:
        yield node
    finally:
        node.destroy_node()
        context.shutdown()


def status() -> DiagnosticStatus:
    values = [KeyValue(key="backend", value="torch")]
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN, name="segmentation front", message="odd", hardware_id="Orin", values=values
    )


def test_statuses_go_out_by_the_node_s_full_name_in_the_period_asked_for_whatever_its_clock(updater: None) -> None:
    heard: list[Any] = []
    with node_with(0.1) as node:
        node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        diagnostics.Diagnostics(node, lambda: [status()])
        wait_until(lambda: executor.spin_once(0.05) or len(heard) > 1, "two arrays")
        executor.shutdown()
    (told,) = heard[-1].status
    assert told.name == "/robot/segmentation_node: segmentation front"
    assert (told.level, told.message, told.hardware_id) == (DiagnosticStatus.WARN, "odd", "Orin")
    assert [(value.key, value.value) for value in told.values] == [("backend", "torch")]


@pytest.mark.parametrize(("period", "told"), [(1, "expected one like 1.0"), (0.0, "is 0.0: expected 0.1 to 3600.0")])
def test_a_period_that_makes_no_sense_is_refused(updater: None, period: object, told: str) -> None:
    with node_with(period) as node, pytest.raises(ConfigurationError, match=f"{diagnostics.PERIOD}.*{told}"):
        diagnostics.Diagnostics(node, lambda: [status()])
