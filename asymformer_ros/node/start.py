"""Starts a node's process: signals are heard from here on, before rclpy is imported, which takes a second or more."""

from __future__ import annotations

import gc
import importlib

from asymformer_ros.system.signals import stop_event


def start(name: str) -> int:
    """Run a node of this package, "segmentation_node" or "camera_node", until it ends. Returns the exit code."""
    with stop_event() as stop:
        gc.disable()  # modules stay: looking among them for what can go takes a tenth of the imports' time
        module = importlib.import_module(f"asymformer_ros.node.{name}")
        gc.enable()
        return int(module.main(stop=stop))
