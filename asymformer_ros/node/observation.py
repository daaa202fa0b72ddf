"""What was seen of a camera's streams, as plain facts: arrivals, stamps, publishers, clock. Nothing here knows ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.node.rate import silence_limit


@dataclass(frozen=True)
class Publisher:
    """One publisher of a topic: its node's full name, its type, and the QoS policies that may not fit."""

    node: str
    type: str
    reliability: str = "RELIABLE"
    durability: str = "VOLATILE"


@dataclass(frozen=True)
class Stream:
    """One subscribed topic: what is asked for, who publishes it, and its newest messages, oldest first.

    name: "colour" or "depth". arrivals: seconds of a steady clock; stamps: nanoseconds, as many. size: (width, height),
    None for compressed images. encoding: of raw images, or the `format` of compressed ones.
    """

    name: str
    topic: str
    type: str
    parameter: str = ""
    reliability: str = "BEST_EFFORT"
    durability: str = "VOLATILE"
    publishers: tuple[Publisher, ...] = ()
    arrivals: tuple[float, ...] = ()
    stamps: tuple[int, ...] = ()
    first: float = 0.0
    size: tuple[int, int] | None = None
    encoding: str = ""
    frame_id: str = ""
    bytes: int = 0

    def silence(self, now: float) -> float:
        """Seconds since the last message, where that is too long; else 0."""
        if not self.arrivals:
            return 0.0
        since = now - self.arrivals[-1]
        return since if since > silence_limit(self.arrivals) else 0.0

    def flows(self, now: float) -> bool:
        """Whether messages come."""
        return bool(self.arrivals) and not self.silence(now)

    def rate(self, span: float = 3.0) -> float:
        """Mean rate of the last `span` seconds before its newest message, Hz; 0 where fewer than two came in it."""
        recent = [time for time in self.arrivals if time >= self.arrivals[-1] - span]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else 0.0

    def stamped_rate(self) -> float:
        """One over the median distance of the newest stamps, Hz, whatever comes in bursts; 0 for too few stamps."""
        gaps = np.diff(self.stamps[-30:])
        period = float(np.median(gaps)) if len(gaps) >= 3 else 0.0
        return 1e9 / period if period > 0 else 0.0

    def arrived(self, since: float) -> int:
        """How many came after that time."""
        return sum(time > since for time in self.arrivals)

    def lag(self) -> float:
        """Median of arrival less stamp, seconds: only differences of it mean something."""
        return float(np.median(np.subtract(self.arrivals, np.multiply(self.stamps, 1e-9))[-30:]))


@dataclass(frozen=True)
class Content:
    """What came of converting the newest images. error: why they were refused, "" where they were not.

    known: share of the depth image that is known, 0..1; median: of the known part, metres.
    """

    error: str = ""
    known: float = 1.0
    median: float = 1.0

    @classmethod
    def of_depth(cls, depth: NDArray[np.float32], stride: int = 8) -> Content:
        """Sampled from (H, W) float32 metres, NaN where unknown; all of it where the sample is empty."""
        sample = depth[::stride, ::stride]
        known = sample[~np.isnan(sample)]
        if not known.size:
            known, sample = depth[~np.isnan(depth)], depth
        return cls(known=known.size / sample.size, median=float(np.median(known)) if known.size else 0.0)


@dataclass(frozen=True)
class Observation:
    """All that was seen of one camera up to `now` (steady clock, as `started` and `pairs`, the times of pairs).

    clock_ns: the node's ROS clock at `now`. patience: seconds that a message waits for its partner.
    topics: every topic that anyone but this node publishes, with its types; filled where a stream has no publisher.
    listened: whether anyone subscribes to an output; paused: whether the camera's topics are left because of that, so
    that nothing comes. no_points: why segmentation/points, asked for, is not published.
    """

    now: float
    started: float
    clock_ns: int
    colour: Stream
    depth: Stream
    camera_info: Stream
    pairs: tuple[float, ...] = ()
    slop: float = 0.02
    patience: float = 1.0
    max_age: float = 0.0
    sim_time: bool = False
    clock_publishers: int = 0
    topics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alone: bool = False
    listened: bool = True
    paused: bool = False
    content: Content | None = None
    no_points: str = ""

    @property
    def streams(self) -> tuple[Stream, Stream]:
        return self.colour, self.depth

    def age(self, stream: Stream) -> float:
        """How old the stream's newest message was by the node's clock when it arrived, seconds."""
        return (self.clock_ns - stream.stamps[-1]) * 1e-9 - (self.now - stream.arrivals[-1])
