"""How a node's process begins and ends: signals, exit codes, a user's mistake without a traceback."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from asymformer_ros.errors import AsymformerError
from asymformer_ros.system.limits import keep_memory_small
from asymformer_ros.system.signals import stop_event

if TYPE_CHECKING:
    from asymformer_ros.node.segmentation_node import SegmentationNode

_MAX_ERRORS = 1000

PATIENCE = 10.0
"""Seconds that the end of a process waits for a model that is being loaded."""


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
    keep_memory_small()
    gc.freeze()  # modules stay: what looks for garbage from here on need not look at them
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
    """Serve a node's callbacks until the context ends or `finished` says so, which is asked twice a second.

    on_error: told what a callback raised, or the reading of a message (text that is no UTF-8, say), and the node goes
    on; without it that ends the process, as do a thousand such errors with nothing else between them.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    errors = 0
    try:
        while node.context.ok() and not finished():
            try:
                executor.spin_once(timeout_sec=0.5)
                errors = 0
            except Exception as error:
                errors += 1
                if on_error is None or errors > _MAX_ERRORS:
                    raise
                on_error(error)
    finally:
        executor.shutdown()


def serve_node(node: SegmentationNode, stop: threading.Event) -> int:
    """Start a node in a thread, serve its callbacks until it fails or `stop` is set, and return the exit code."""
    threading.Thread(target=node.cancel_at, args=(stop,), name="stop", daemon=True).start()
    loading = threading.Thread(target=node.start, name="start", daemon=True)
    loading.start()
    try:
        spin(node, lambda: stop.is_set() or bool(node.failure), node.on_callback_error)
        exit_code = 1 if node.failure and not stop.is_set() else 0
        if node.dead_thread():
            node.get_logger().fatal(node.dead_thread())
    finally:
        stop.set()
        if not _joined([loading, *node.working]):  # inside a library that cannot be asked to stop
            node.get_logger().info("ends without waiting for the model that is being loaded")
            sys.stdout.flush()
            os._exit(0)
        node.release()
        node.destroy_node()
    return exit_code


def _joined(threads: Sequence[threading.Thread]) -> bool:
    end = monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    return not any(thread.is_alive() for thread in threads)
