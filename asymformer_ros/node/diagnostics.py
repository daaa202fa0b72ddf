"""Publishes statuses on /diagnostics: through diagnostic_updater where it is installed, else the same messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from asymformer_ros.optional import installed

PERIOD = "diagnostic_updater.period"


class StandIn:
    """The part of diagnostic_updater's Updater that is used here: its parameter, its prefix, its publisher."""

    def __init__(self, node: Node) -> None:
        self.node, self.node_name = node, node.get_name()
        self.period = float(node.declare_parameter(PERIOD, 1.0).value)
        self.timer: Any = None
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)

    def publish(self, statuses: list[DiagnosticStatus]) -> None:
        """Publish them together, their names after the node's."""
        for status in statuses:
            status.name = f"{self.node_name}: {status.name}"
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._publisher.publish(message)


Updater: Any = StandIn

if not TYPE_CHECKING and installed("diagnostic_updater"):
    from diagnostic_updater import Updater


class Diagnostics:
    """Publishes what `report` answers, once in each `diagnostic_updater.period` (seconds), in every state of the node.

    By a steady clock: diagnostic_updater's own timer stands still where use_sim_time is set and no /clock arrives,
    which is one of the things to tell. Names begin with the node's full name, for one robot may have several.
    """

    def __init__(self, node: Node, report: Callable[[], list[DiagnosticStatus]]) -> None:
        self._updater, self._report = Updater(node), report
        if self._updater.timer is not None:
            node.destroy_timer(self._updater.timer)
        self._updater.node_name = node.get_fully_qualified_name()
        node.create_timer(self._updater.period, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        self._updater.publish(self._report())
