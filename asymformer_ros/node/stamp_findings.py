"""What the stamps of each stream say: zero, standing still, out of order, lost on the way, of another clock.

Nothing here knows ROS.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asymformer_ros.findings import Finding
from asymformer_ros.node.graph_findings import GRACE
from asymformer_ros.node.observation import Observation, Stream

BEHIND, AHEAD = 10.0, 0.5
"""Seconds between a stamp and the node's clock, or between the two streams, that no camera's delay explains."""

_ROW = 40  # newest messages whose order and distances are looked at

ENOUGH = 4
"""Messages of a stream before anything is said of them together."""


def of_stream(stream: Stream, seen: Observation) -> Iterator[Finding]:
    name, newest = stream.name, stream.stamps[-20:]
    if not newest or not stream.flows(seen.now):
        return
    if newest[-1] < 0:
        yield Finding(
            "error",
            f"negative-stamp-{name}",
            f"{name} image has a stamp below zero ({newest[-1] * 1e-9:.3f} s): mend the driver's clock",
        )
    elif newest[-1] == 0:
        text = f"the stamps of {name} are zero, so it cannot be paired by time"
        yield Finding("warning", f"zero-stamp-{name}", text, "the driver must set header.stamp")
    elif len(newest) >= ENOUGH and len(set(newest)) == 1 and stream.arrivals[-1] > stream.arrivals[-len(newest)]:
        text = f"the last {len(newest)} {name} images have one stamp ({newest[-1] * 1e-9:.3f} s)"
        yield Finding("warning", f"same-stamp-{name}", text, "the driver must stamp each image anew")
    else:
        yield from _of_order(stream)


def _of_order(stream: Stream) -> Iterator[Finding]:
    """Stamps that are no row of equal steps: two drivers, one that goes back and forth, or losses."""
    steps = np.diff(stream.stamps[-_ROW:])
    back = int((steps < 0).sum())
    disordered = [*_of_loss(stream)]
    if back >= 3 and back > 0.1 * len(steps):
        text = f"the stamps of {stream.name} step back {back} times in {len(steps)} images"
        disordered = [Finding("warning", f"stamp-order-{stream.name}", text, "the driver must publish in order")]
    nodes = sorted({publisher.node for publisher in stream.publishers if publisher.type == stream.type})
    if disordered and len(nodes) > 1:
        text = f"{len(nodes)} nodes publish {stream.topic}, and their images mix: {', '.join(nodes)}"
        disordered = [Finding("warning", f"two-publishers-{stream.name}", text, "give each camera its own topic")]
    yield from disordered


def _of_loss(stream: Stream) -> Iterator[Finding]:
    """Stamps that come at multiples of a period: the others were lost between the driver and this node."""
    gaps = np.diff(stream.stamps[-_ROW:]) * 1e-9
    gaps = gaps[gaps > 0]
    if len(gaps) < 10:
        return
    period = float(np.percentile(gaps, 25))
    steps = np.rint(gaps / period)
    lost = 1 - len(gaps) / steps.sum()
    if (gaps > 1.8 * period).mean() < 0.3 or lost < 0.3:
        return
    size = f", {stream.bytes / 1e6:.1f} MB each" if stream.bytes else ""
    yield Finding(
        "warning",
        f"lost-{stream.name}",
        f"about {lost:.0%} of the {stream.name} images do not arrive: {stream.rate():.1f} Hz of at least "
        f"{1 / period:.1f} Hz{size}",
        "large best-effort images get lost in Fast DDS (docs/dds.md has the profile for the driver's process), or the "
        "driver leaves them out",
    )


def of_missing_clock(seen: Observation) -> Iterator[Finding]:
    """Simulated time that does not come."""
    if seen.sim_time and seen.clock_ns == 0 and seen.now - seen.started >= GRACE:
        who = f"though {seen.clock_publishers} publish it" if seen.clock_publishers else "and nobody publishes it"
        text = f"use_sim_time is set but no /clock arrives, {who}"
        yield Finding("warning", "no-clock", text, "play the bag with --clock, or set use_sim_time:=false")


def of_clocks(seen: Observation) -> Iterator[Finding]:
    """Stamps of different clocks: of the two streams, or of a stream and this node."""
    if not all(stream.flows(seen.now) and len(stream.stamps) >= ENOUGH for stream in seen.streams):
        return
    apart, age = seen.depth.lag() - seen.colour.lag(), seen.age(seen.colour)
    if abs(apart) > BEHIND:
        behind, other = ("depth", "colour") if apart > 0 else ("colour", "depth")
        yield Finding(
            "error",
            "clocks-apart",
            f"the stamps of {behind} are {duration(apart)} behind those of {other}: no pair can form",
            "let both drivers stamp by one clock (a common time: chrony, PTP; the system's, not the device's)",
        )
    elif seen.sim_time and seen.clock_ns == 0:
        return  # the node has no time of its own
    elif age > BEHIND:
        advice = "/clock is published: set use_sim_time:=true; " if seen.clock_publishers else ""
        yield Finding(
            "warning",
            "clock-behind",
            f"the stamps are {duration(age)} behind this node's clock",
            f"{advice}a bag needs use_sim_time:=true and `ros2 bag play --clock`, another computer a common time "
            "(chrony, PTP)",
        )
    elif age < -AHEAD:
        text = f"the stamps are {duration(age)} ahead of this node's clock"
        yield Finding("warning", "clock-ahead", text, "give the computers a common time (chrony, PTP)")
    elif 0 < seen.max_age < age:
        yield Finding(
            "error",
            "too-old",
            f"images are {duration(age)} old when they arrive and max_age is {duration(seen.max_age)}",
            "raise max_age, or shorten the camera's way (rate, size, network)",
        )


def duration(seconds: float) -> str:
    """A length of time for people, without its sign."""
    seconds = abs(seconds)
    for limit, unit, text in ((1, 1e-3, "{:.3g} ms"), (7200, 1, "{:.1f} s"), (172_800, 3600, "{:.1f} h")):
        if seconds < limit:
            return text.format(seconds / unit)
    return f"{seconds / 86_400:.0f} days"
