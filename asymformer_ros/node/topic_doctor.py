"""The sync doctor without a running node: subscribes for a few seconds and tells what it found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic

import numpy as np
import rclpy
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.findings import Finding
from asymformer_ros.node.graph_findings import split_transport
from asymformer_ros.node.health import Health
from asymformer_ros.node.inputs import Inputs
from asymformer_ros.node.observation import Observation
from asymformer_ros.node.parameters import SPECS, Settings
from asymformer_ros.node.sync_doctor import examine, offsets
from asymformer_ros.node.watch import Watch

SECONDS = 4.0
"""How long it listens to both streams where nothing else is said."""


def diagnose_topics(rgb: str, depth: str, seconds: float = SECONDS, slop: float | None = None) -> list[Finding]:
    """What is wrong with two image topics, and what they are; the findings of the node with the same parameters.

    Topics that end in /compressed or /compressedDepth are taken with that transport; camera info is looked for beside
    colour. slop: seconds, the node's default where it is None. Raises ConfigurationError for names that ROS does not
    allow and times that are not positive.
    """
    if not seconds > 0 or not (slop is None or slop >= 0):
        raise ConfigurationError(f"listens for {seconds} s with slop {slop}: expected more than 0 s and at least 0")
    (rgb, rgb_transport), (depth, depth_transport) = (_split(topic) for topic in (rgb, depth))
    settings = _settings(rgb_transport, depth_transport, slop)
    context = rclpy.Context()
    context.init()
    try:
        node = _node(context, rgb, depth)
        inputs = Inputs(node, "", settings, Health(node.get_logger()), lambda pair: None)
        _listen(node, inputs.watch, seconds)
        seen = inputs.watch.observe(None, settings, listened=True)
    finally:
        context.try_shutdown()
    return [*_what_comes(seen), *examine(seen)]


def _settings(rgb: str, depth: str, slop: float | None) -> Settings:
    defaults = Settings(**{name: spec.default for name, spec in SPECS.items()})  # type: ignore[arg-type]
    chosen = replace(defaults, image_transport=rgb, depth_image_transport=depth)
    return chosen if slop is None else replace(chosen, slop=slop)


def _split(topic: str) -> tuple[str, str]:
    """(base topic, transport). Raises ConfigurationError for what is no name."""
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        raise ConfigurationError(f"'{topic}' is no topic: {' '.join(str(error).split())}") from error
    return split_transport(topic)


def _node(context: rclpy.Context, rgb: str, depth: str) -> Node:
    info = f"{rgb.rpartition('/')[0]}/camera_info"
    topics = {"rgb/image": rgb, "depth/image": depth, "rgb/camera_info": info}
    remaps = [argument for name, topic in topics.items() for argument in ("-r", f"{name}:={topic}")]
    node = Node(
        "asymformer_doctor",
        context=context,
        cli_args=["--ros-args", *remaps],
        use_global_arguments=False,
        enable_rosout=False,
        start_parameter_services=False,
    )
    node.get_logger().set_level(LoggingSeverity.FATAL)  # the findings say it all
    return node


def _listen(node: Node, watch: Watch, seconds: float) -> None:
    """Take messages for `seconds` from the time on when both streams come; discovery may take as long before."""
    executor, latest, end = SingleThreadedExecutor(context=node.context), monotonic() + 2 * seconds, math.inf
    executor.add_node(node)
    while monotonic() < min(end, latest):
        try:
            executor.spin_once(timeout_sec=0.1)
        except Exception:  # a message that cannot be read counts as none
            continue
        if watch.complete and end == math.inf:
            end = monotonic() + seconds
    executor.shutdown()


def _what_comes(seen: Observation) -> Iterator[Finding]:
    for stream in seen.streams:
        if stream.arrivals:
            size = f"{stream.size[0]}x{stream.size[1]} " if stream.size else ""
            text = f"{stream.topic}: {stream.rate():.1f} Hz, {size}{stream.encoding} in the frame '{stream.frame_id}'"
            if stream.name == "depth" and seen.content and not seen.content.error:
                text += f", {seen.content.known:.0%} known, half of it nearer than {seen.content.median:.2f} m"
            yield Finding("ok", stream.name, text)
    if not seen.pairs:
        yield Finding("error", "pairs", f"no pair has formed in {seen.now - seen.started:.1f} s", "the rest says why")
    elif len(apart := offsets(seen.depth, seen.colour)):
        rate = replace(seen.colour, arrivals=seen.pairs).rate()
        text = f"{rate:.1f} pairs a second, stamps {np.median(apart) * 1e3:.3g} ms apart (median)"
        yield Finding("ok", "pairs", text)
