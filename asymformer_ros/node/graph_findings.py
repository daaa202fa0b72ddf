"""Why a topic is silent: what the ROS graph says of it. Nothing here knows ROS."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

from asymformer_ros.findings import Finding
from asymformer_ros.node.observation import Observation, Publisher, Stream

GRACE = 1.0
"""Seconds after the subscription within which nothing is missed: discovery takes its time."""

_TIME_TO_START = 1.5  # seconds until the first image of a topic that has a publisher

_TRANSPORTS = ("raw", "compressed", "compressedDepth")
_SHOWN = 5  # similar topics


def of_stream(stream: Stream, seen: Observation) -> Iterator[Finding]:
    """The one reason why this stream is silent; nothing where it flows."""
    if stream.flows(seen.now) or seen.now - seen.started < GRACE:
        return
    fitting = [publisher for publisher in stream.publishers if publisher.type == stream.type]
    if stream.arrivals and all(len(one.arrivals) <= 1 for one in seen.streams):
        yield from _first_capture(stream, seen)
    elif stream.arrivals:
        yield _stopped(stream, seen)
    elif not stream.publishers:
        yield _nobody(stream, seen)
    elif not fitting:
        yield _wrong_type(stream)
    elif all(qos_conflict(publisher, stream) for publisher in fitting):
        yield _wrong_qos(stream, fitting[0])
    elif not seen.paused and seen.now - seen.started > _TIME_TO_START:
        yield Finding(
            "warning",
            f"silent-{stream.name}",
            f"{_nodes(stream)} publishes {stream.topic}, but no {stream.name} image has come for "
            f"{seen.now - seen.started:.0f} s",
            "look at the driver's log; large images that get lost: docs/dds.md",
        )


def of_camera_info(seen: Observation) -> Iterator[Finding]:
    """A calibration that was published once, before this node came, and never again."""
    info = seen.camera_info
    latched = [publisher for publisher in info.publishers if publisher.durability == "TRANSIENT_LOCAL"]
    if latched and not info.arrivals and info.durability == "VOLATILE" and seen.colour.arrived(seen.started) > 20:
        name = f"qos_overrides.{info.topic}.subscription"
        yield Finding(
            "warning",
            "latched-camera-info",
            f"no camera info has come from {info.topic}, which {latched[0].node} publishes once (TRANSIENT_LOCAL)",
            f"set {name}.durability:=transient_local and {name}.reliability:=reliable",
        )


def qos_conflict(publisher: Publisher, stream: Stream) -> str:
    """The policy in which a publisher offers less than the subscription asks for, with both values; "" for none."""
    if publisher.reliability == "BEST_EFFORT" and stream.reliability == "RELIABLE":
        return "reliability: BEST_EFFORT is offered, RELIABLE is asked for"
    if publisher.durability == "VOLATILE" and stream.durability == "TRANSIENT_LOCAL":
        return "durability: VOLATILE is offered, TRANSIENT_LOCAL is asked for"
    return ""


def _first_capture(stream: Stream, seen: Observation) -> Iterator[Finding]:
    """Of both streams once: neither has a rate that it has lost. This may be a camera that captures on demand."""
    if stream.name == "colour" or not seen.colour.arrivals:
        text = f"one {stream.name} image has come, {stream.silence(seen.now):.1f} s ago"
        yield Finding("ok", "first-capture", text, "right for a camera that captures on demand; else see its log")


def _stopped(stream: Stream, seen: Observation) -> Finding:
    rate = stream.rate()
    before = f" ({rate:.1f} Hz before)" if rate else ""
    still = f"{_nodes(stream)} still offers {stream.topic}" if stream.publishers else f"nobody publishes {stream.topic}"
    return Finding(
        "warning",
        f"stopped-{stream.name}",
        f"{stream.name} images stopped {stream.silence(seen.now):.1f} s ago{before}; {still}",
        "look at the driver's log and the camera's cable" if stream.publishers else "start the camera again",
    )


def _nobody(stream: Stream, seen: Observation) -> Finding:
    base, own = split_transport(stream.topic)
    siblings = {transport: base if transport == "raw" else f"{base}/{transport}" for transport in _TRANSPORTS}
    if stream.name == "colour":
        del siblings["compressedDepth"]
    there = {transport: topic for transport, topic in siblings.items() if transport != own and topic in seen.topics}
    if there:
        cause = "only-compressed" if own == "raw" else "other-transport"
        advice = " or ".join(f"{stream.parameter}:={transport}" for transport in there)
        text = f"only {' and '.join(there.values())} is published, not {stream.topic}"
        return Finding("error", f"{cause}-{stream.name}", text, f"set {advice}")
    return Finding("warning", f"no-publisher-{stream.name}", *_similar(stream, seen))


def _similar(stream: Stream, seen: Observation) -> tuple[str, str]:
    said = f"nobody publishes {stream.topic}"
    if seen.alone:
        return (
            f"{said}, and no other node is visible",
            "start the camera; or ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE or a firewall keeps it apart",
        )
    images = {name for name, types in seen.topics.items() if stream.type in types and "/segmentation/" not in name}
    if not images:
        return f"{said}, nor any other topic of the type {stream.type}", "start the camera driver"
    ranked = sorted(images, key=lambda name: (-_likeness(stream, name), name))
    more = f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
    base = "rgb" if stream.name == "colour" else "depth"
    return (
        f"{said}; {stream.type.rsplit('/', 1)[-1]} topics there are: {', '.join(ranked[:_SHOWN])}{more}",
        f"remap {base}/image (launch files: {base}_topic:=...), or start the camera",
    )


def _likeness(stream: Stream, topic: str) -> float:
    is_depth = "depth" in topic or "aligned" in topic
    return SequenceMatcher(None, stream.topic, topic).ratio() + (is_depth == (stream.name == "depth"))


def _wrong_type(stream: Stream) -> Finding:
    publisher = stream.publishers[0]
    advice = "remap it to an image topic"
    if publisher.type == "sensor_msgs/msg/CompressedImage":
        advice = f"`ros2 run topic_tools relay` it to {stream.topic}/compressed and set {stream.parameter}:=compressed"
    text = f"{stream.topic} is {publisher.type}, published by {publisher.node}, and not {stream.type}"
    return Finding("error", f"wrong-type-{stream.name}", text, advice)


def _wrong_qos(stream: Stream, publisher: Publisher) -> Finding:
    conflict = qos_conflict(publisher, stream)
    policy = conflict.partition(":")[0]
    offered = getattr(publisher, policy).lower()
    return Finding(
        "error",
        f"qos-{stream.name}",
        f"{stream.topic} of {publisher.node} does not fit this subscription in its {conflict}",
        f"set qos_overrides.{stream.topic}.subscription.{policy}:={offered}",
    )


def split_transport(topic: str) -> tuple[str, str]:
    """(base topic, transport) of a topic's name; transport is "raw" where the name has none."""
    base, _, last = topic.rpartition("/")
    return (base, last) if base and last in _TRANSPORTS[1:] else (topic, "raw")


def _nodes(stream: Stream) -> str:
    return " and ".join(sorted({publisher.node for publisher in stream.publishers}))
