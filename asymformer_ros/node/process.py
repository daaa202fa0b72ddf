"""How a node's process begins and ends: signals, exit codes, a user's mistake without a traceback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from asymformer_ros.errors import AsymformerError

_MAX_ERRORS = 1000

_stop = threading.Event()


def run_process(name: str, serve: Callable[[], int], args: Sequence[str] | None) -> int:
    """Run `serve` with rclpy initialised and return the process's exit code.

    SIGINT and SIGTERM end `spin`; a mistake of the user's is one line in the log and gives 1. rclpy's own signal
    handlers are not used: they pull the context away beneath a running callback.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _stop.set())
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # what rclpy raises for its arguments has no public type
        get_logger(name).fatal(f"the ROS arguments cannot be used: {error}")
        return 1
    try:
        return serve()
    except AsymformerError as error:
        get_logger(name).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()


def spin(
    node: Node, finished: Callable[[], bool] = lambda: False, on_error: Callable[[Exception], None] | None = None
) -> None:
    """Serve a node's callbacks until a signal comes, the context ends or `finished` says so.

    on_error: told what a callback raised, or the reading of a message (text that is no UTF-8, say), and the node goes
    on; without it that ends the process, as do a thousand such errors with nothing else between them.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    errors = 0
    try:
        while node.context.ok() and not _stop.is_set() and not finished():
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
