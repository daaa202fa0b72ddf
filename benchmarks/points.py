"""How long a cloud of `segmentation/points` takes to build, against a copy of its bytes.

python benchmarks/points.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
from std_msgs.msg import Header

from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.points import POINT
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.models.labels import label_set
from asymformer_ros.node.points import CloudWriter

SIZES = ((240, 320), (480, 640), (720, 1280))
RUNS = 200


def best_ms(action: Callable[[], object]) -> float:
    """The shortest of many runs: what else the machine does only adds to it."""
    times = []
    for _ in range(RUNS):
        start = perf_counter()
        action()
        times.append(perf_counter() - start)
    return min(times) * 1e3


def main() -> None:
    for height, width in SIZES:
        built, copied = best_ms(building(height, width)), best_ms(copying(height * width * POINT.itemsize))
        print(f"{width}x{height}: {built:.2f} ms, a copy {copied:.2f} ms: {built / copied:.1f} times")


def building(height: int, width: int) -> Callable[[], object]:
    """Builds the cloud of one frame, a fifth of which has no depth."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.3, 5.0, (height, width)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = np.nan
    frame = RgbdFrame(rng.integers(0, 256, (height, width, 3), np.uint8), depth)
    labels, confidence = rng.integers(0, 40, (2, height, width), np.uint8)
    segmentation = Segmentation(labels, confidence, frame, label_set("nyuv2_40"))
    return partial(CloudWriter().message, Header(), segmentation, Intrinsics.typical(width, height))


def copying(count: int) -> Callable[[], object]:
    """Copies so many bytes."""
    return partial(np.copyto, np.zeros(count, np.uint8), np.ones(count, np.uint8))


if __name__ == "__main__":
    main()
