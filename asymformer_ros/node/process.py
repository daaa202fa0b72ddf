"""How a node's process begins and ends: signals, exit codes, a user's mistake without a traceback."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from asymformer_ros.errors import AsymformerError
from asymformer_ros.system.signals import stop_event

_MAX_ERRORS = 1000

Serve = Callable[[threading.Event], int]


def run_process(name: str, serve: Serve, args: Sequence[str] | None, stop: threading.Event | None = None) -> int:
    """Run `serve` with rclpy initialised and return the process's exit code.

    stop: set by SIGINT, SIGTERM and SIGHUP, and `serve` ends with it; made here where it is None. A mistake of the
    user's is one line in the log and gives 1. rclpy's own signal handlers are not used: they pull the context away
    beneath a running callback.
    """
    if stop is None:
        with stop_event() as made:
            return run_process(name, serve, args, made)
    if stop.is_set():
        return 0
    try:
        _initialise(name, args)
    except RuntimeError as error:  # what rclpy raises for its arguments has no public type
        get_logger(name).fatal(f"ROS cannot be initialised with these arguments and this environment: {error}")
        return 1
    try:
        return serve(stop)
    except AsymformerError as error:
        get_logger(name).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()


def _initialise(name: str, args: Sequence[str] | None) -> None:
    """rclpy.init, with a temporary folder for logs where there is no home, or it cannot be written."""
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        if "initialize logging" not in str(error) or os.environ.get("ROS_LOG_DIR"):
            raise
        rclpy.try_shutdown()
        os.environ["ROS_LOG_DIR"] = folder = tempfile.mkdtemp(prefix="ros-log-")
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        get_logger(name).warning(f"the folder of ROS's logs cannot be written ({error}): this log is in {folder}")


def spin(node: Node, finished: Callable[[], bool], on_error: Callable[[Exception], None] | None = None) -> None:
    """Serve a node's callbacks until the context ends or `finished` says so, which is asked ten times a second.

    on_error: told what a callback raised, or the reading of a message (text that is no UTF-8, say), and the node goes
    on; without it that ends the process, as do a thousand such errors with nothing else between them.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    errors = 0
    try:
        while node.context.ok() and not finished():
            try:
                executor.spin_once(timeout_sec=0.1)
                errors = 0
            except Exception as error:
                errors += 1
                if on_error is None or errors > _MAX_ERRORS:
                    raise
                on_error(error)
    finally:
        executor.shutdown()
