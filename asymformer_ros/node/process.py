"""How a node's process begins and ends: signals, exit codes, a user's mistake without a traceback."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.logging import get_logger

from asymformer_ros.errors import AsymformerError


def run_process(name: str, serve: Callable[[], int], args: Sequence[str] | None) -> int:
    """Run `serve` with rclpy initialised and return the process's exit code.

    SIGINT and SIGTERM end a spin and give 0; a mistake of the user's is one line in the log and gives 1.
    """
    signal.signal(signal.SIGINT, lambda *_: None)  # rclpy's own handler ends the spin; an interrupt would tear it
    try:
        rclpy.init(args=args)
    except RuntimeError as error:  # what rclpy raises for its arguments has no public type
        get_logger(name).fatal(f"the ROS arguments cannot be used: {error}")
        return 1
    try:
        return serve()
    except ExternalShutdownException:
        return 0
    except AsymformerError as error:
        get_logger(name).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()
