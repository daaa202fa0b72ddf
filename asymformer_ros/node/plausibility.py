"""What is odd about a pair that can be segmented all the same: its stamps, its frames, its depth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.synchronizer import stamp_ns

_BEHIND, _AHEAD = 10.0, 0.5  # seconds between a stamp and the node's clock
_FARTHEST, _NEAREST = 100.0, 0.05  # metres: no RGB-D camera sees half of its image outside
_STRIDE = 8


def oddities(pair: Pair, depth: NDArray[np.float32], now_ns: int) -> Iterator[tuple[str, str]]:
    """(kind, explanation) of each thing that is odd. depth: (H, W) float32 metres, NaN where unknown."""
    yield from _of_stamps(stamp_ns(pair.rgb.header), now_ns)
    rgb_frame, depth_frame = pair.rgb.header.frame_id, pair.depth.header.frame_id
    if rgb_frame != depth_frame:
        yield (
            "frame_id",
            f"depth is in the frame '{depth_frame}' and colour in '{rgb_frame}': depth that is not registered to the "
            "colour camera gives wrong labels; docs/cameras.md has the drivers' settings",
        )
    yield from _of_depth(depth)


def _of_stamps(stamp: int, now: int) -> Iterator[tuple[str, str]]:
    age = (now - stamp) * 1e-9
    if stamp == 0:
        yield "stamp", "the stamps are zero: the driver does not set them, so any colour is paired with any depth"
    elif now == 0:
        yield "stamp", "use_sim_time is set but no /clock arrives: play the bag with --clock"
    elif age > _BEHIND:
        yield (
            "stamp",
            f"the stamps are {age:.0f} s behind this node's clock: a bag needs use_sim_time:=true and `ros2 bag play "
            "--clock`, another computer a common time (chrony, PTP)",
        )
    elif age < -_AHEAD:
        yield "stamp", f"the stamps are {-age:.1f} s ahead of this node's clock: give the computers a common time"


def _of_depth(depth: NDArray[np.float32]) -> Iterator[tuple[str, str]]:
    sample = depth[::_STRIDE, ::_STRIDE]
    known = sample[~np.isnan(sample)]
    if not known.size and np.isnan(depth).all():
        yield "depth", "depth is empty: no pixel of it is known (0 or NaN everywhere)"
    elif known.size and not _NEAREST <= (median := float(np.median(known))) <= _FARTHEST:
        yield (
            "depth",
            f"half of the depth image is {'farther' if median > 1 else 'nearer'} than {median:.3g} m: its unit must be "
            "millimetres in 16UC1 and metres in 32FC1",
        )
