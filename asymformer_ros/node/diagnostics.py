"""Publishes statuses on /diagnostics: through diagnostic_updater where it is installed, else the same messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.optional import installed

PERIOD = "diagnostic_updater.period"

_SHORTEST, _LONGEST = 0.1, 3600.0


class StandIn:
    """The part of diagnostic_updater's Updater that is used here: its parameter, its publisher, and no timer."""

    def __init__(self, node: Node) -> None:
        self.period = float(node.declare_parameter(PERIOD, 1.0).value)
        self.timer: Any = None
        self.publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)


Updater: Any = StandIn

if not TYPE_CHECKING and installed("diagnostic_updater"):
    from diagnostic_updater import Updater


class Diagnostics:
    """Publishes what `report` answers, once in each `diagnostic_updater.period` (seconds), in every state of the node.

    By a steady clock: diagnostic_updater's own timer stands still where use_sim_time is set and no /clock arrives,
    which is one of the things to tell. Names begin with the node's full name, for one robot may have several; some
    versions of diagnostic_updater know only the short one.
    """

    def __init__(self, node: Node, report: Callable[[], list[DiagnosticStatus]]) -> None:
        """Raises ConfigurationError where the period makes no sense."""
        self._node, self._report = node, report
        try:
            self._updater = Updater(node)
        except InvalidParameterTypeException as error:
            raise ConfigurationError(f"parameter {PERIOD}: {error}: expected one like 1.0") from error
        if not _SHORTEST <= self._updater.period <= _LONGEST:
            raise ConfigurationError(
                f"parameter {PERIOD} is {self._updater.period}: expected {_SHORTEST} to {_LONGEST} seconds"
            )
        if self._updater.timer is not None:
            node.destroy_timer(self._updater.timer)
        node.create_timer(self._updater.period, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        statuses = self._report()
        for status in statuses:
            status.name = f"{self._node.get_fully_qualified_name()}: {status.name}"
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._updater.publisher.publish(message)
