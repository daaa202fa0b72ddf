"""What is wrong with the images themselves: encodings, sizes, frames, depth values. Nothing here knows ROS."""

from __future__ import annotations

from collections.abc import Iterator

from asymformer_ros.findings import Finding
from asymformer_ros.node.observation import Content, Observation

_FARTHEST, _NEAREST = 100.0, 0.05  # metres: no RGB-D camera sees half of its image outside
_DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
_REGISTERED = "docs/cameras.md has the drivers' settings for depth that is registered (aligned) to colour"


def of_messages(seen: Observation) -> Iterator[Finding]:
    """Findings about the newest colour and depth image, paired or not."""
    colour, depth = seen.colour, seen.depth
    if not all(stream.flows(seen.now) for stream in seen.streams):
        return
    if colour.encoding.startswith(_DEPTH_ENCODINGS) and not depth.encoding.startswith(_DEPTH_ENCODINGS):
        yield Finding(
            "error",
            "swapped",
            f"colour is {colour.encoding} on {colour.topic} and depth is {depth.encoding} on {depth.topic}",
            "the two topics are swapped: remap rgb/image and depth/image the other way round",
        )
        return
    if seen.content and seen.content.error:
        yield Finding("error", "refused", seen.content.error)
        return
    sizes = " and ".join(f"{stream.name} {stream.size[0]}x{stream.size[1]}" for stream in seen.streams if stream.size)
    if colour.frame_id.lstrip("/") != depth.frame_id.lstrip("/"):
        yield Finding(
            "warning",
            "not-registered",
            f"depth is in the frame '{depth.frame_id}' and colour in '{colour.frame_id}'"
            + (f" ({sizes})" if colour.size != depth.size and sizes else ""),
            f"depth that is not registered gives wrong labels; {_REGISTERED}",
        )
    elif colour.size and depth.size and colour.size != depth.size:
        text = f"{sizes} differ in size: depth is brought to the size of colour"
        yield Finding("ok", "sizes-differ", text, f"right only where it is registered; {_REGISTERED}")
    if seen.content:
        yield from _of_depth(seen.content, depth.encoding)


def _of_depth(content: Content, encoding: str) -> Iterator[Finding]:
    if not content.known:
        text = "depth is empty: no pixel of it is known (0 or NaN everywhere)"
        yield Finding("warning", "depth-empty", text, "is the depth sensor covered, too near, or its emitter off?")
    elif not _NEAREST <= content.median <= _FARTHEST:
        side = "farther" if content.median > 1 else "nearer"
        yield Finding(
            "warning",
            "depth-unit",
            f"half of the depth image ({encoding}) is {side} than {content.median:.3g} m",
            "its unit must be millimetres in 16UC1 and metres in 32FC1",
        )
