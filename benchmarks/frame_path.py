"""From messages to published messages with the network stubbed: this package against a plain node, by turns.

    python benchmarks/frame_path.py
    python benchmarks/frame_path.py --quick --json frame_path.json

The plain node is `plain_node.py`. Both get the same pair of messages (rgb8, 16UC1) and the same labels; publishers take
the message and drop it, so that serialisation, which is the same for both, is not in it. The stub packs its input as
ONNX Runtime gets it. Prints medians, their ratio, that of
the least times, which load disturbs less, and the medians of the stages of ours.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from plain_node import PlainNode
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from asymformer_ros.frames.depth import Depth
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.signature import camera_feeds
from asymformer_ros.node.camera import Camera
from asymformer_ros.node.conversions import image_message
from asymformer_ros.node.frame_path import FramePath
from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.serving import Serving
from asymformer_ros.system.limits import return_large_blocks

NETWORK = (480, 640)
SIZES = ((480, 640), (720, 1280))
OUTPUTS = {
    "labels": {"labels"},
    "overlay": {"labels", "overlay"},
    "all": {"labels", "overlay", "color", "confidence", "summary", "camera_info", "points"},
}
LIMITS = {(480, 640): (0.05, 0.06, 0.15), (720, 1280): (0.12, 0.14, 0.20)}
"""Largest ratio to the plain node for each of OUTPUTS."""

_CLASSES = 15  # in view: as many as in a kitchen


class Stub:
    """Answers with labels that were made before, and packs its input as a real backend does."""

    name, model_sha256 = "stub", ""

    def __init__(self) -> None:
        self.card: Any = SimpleNamespace(name="stub", input_size=NETWORK, label_set=label_set("nyuv2_40"))
        self.prediction = Prediction(*scene_labels(NETWORK))

    def infer(self, rgb: NDArray[np.uint8], depth: Depth, **_: Any) -> Prediction:
        camera_feeds(rgb[0], depth[0])
        return Prediction(*(image[None] for image in self.prediction))

    def close(self) -> None:
        """Nothing to release."""


class Publisher:
    """Takes messages and drops them."""

    def __init__(self, subscribers: int) -> None:
        self.get_subscription_count = lambda: subscribers

    def publish(self, message: Any) -> None:
        """Drop it."""


class StubNode:
    """What the frame path needs of a node."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted
        self.context = SimpleNamespace(ok=lambda: True)

    def create_publisher(self, message_type: type, topic: str, *_: Any, **__: Any) -> Publisher:
        """A stub."""
        return Publisher(int(topic.rpartition("/")[2] in self._wanted))

    def get_logger(self) -> Any:
        """A logger that is silent."""
        return SimpleNamespace(info=print, warning=print, error=print)

    def get_clock(self) -> Any:
        """A clock that stands."""
        moment = SimpleNamespace(nanoseconds=100_500_000_000, to_msg=lambda: Time(sec=100))
        return SimpleNamespace(now=lambda: moment)


def scene_labels(size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Labels and confidence (H, W) of large and small smooth regions of `_CLASSES` classes."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).random(size, np.float32), (0, 0), size[0] / 20)
    order = noise.argsort(axis=None).argsort().reshape(size) / noise.size
    return (order**2 * _CLASSES).astype(np.uint8), (255 * (0.3 + 0.7 * order)).astype(np.uint8)


def scene_messages(size: tuple[int, int]) -> tuple[Image, Image, CameraInfo]:
    """A colour and a depth image, a tenth of it unknown, and a calibration."""
    rng = np.random.default_rng(1)
    header = Header(stamp=Time(sec=100))
    rgb = rng.integers(0, 256, (*size, 3), np.uint8)
    depth = np.linspace(500, 5000, size[0] * size[1]).astype(np.uint16).reshape(size)
    depth[rng.random(size) < 0.1] = 0
    k = [525.0, 0.0, size[1] / 2, 0.0, 525.0, size[0] / 2, 0.0, 0.0, 1.0]
    info = CameraInfo(header=header, height=size[0], width=size[1], k=k)
    return image_message(rgb, "rgb8", header), image_message(depth, "16UC1", header), info


def ours(size: tuple[int, int], outputs: str) -> tuple[Callable[[], None], Camera]:
    """What handles one pair, and the camera that holds its stage times."""
    node: Any = StubNode(OUTPUTS[outputs])
    camera = Camera(node, "")
    settings: Any = SimpleNamespace(
        max_age=0.0, max_pixels=1 << 24, min_confidence=0.0, overlay_alpha=0.5, temporal_smoothing=False
    )
    backend: Any = Stub()
    path = FramePath(node, lambda: settings, Serving(Segmenter(backend)), [camera])
    pair = Pair(*scene_messages(size))
    return lambda: path.handle({0: pair}), camera


def plain(size: tuple[int, int], outputs: str) -> Callable[[], None]:
    """What handles one pair."""
    prediction, palette = Stub().prediction, label_set("nyuv2_40").color_table
    node = PlainNode(lambda rgb, depth: prediction, lambda message: None, NETWORK, palette, 525.0, outputs)
    rgb, depth, _ = scene_messages(size)
    return lambda: node.callback(rgb, depth)


def by_turns(actions: Sequence[Callable[[], object]], runs: int) -> NDArray[np.float64]:
    """(actions, runs) milliseconds; they run by turns, after three to warm up."""
    times: list[list[float]] = [[] for _ in actions]
    for run in range(runs + 3):
        for action, kept in zip(actions, times, strict=True):
            start = perf_counter()
            action()
            if run >= 3:
                kept.append((perf_counter() - start) * 1e3)
    return np.array(times)


def measure(runs: int) -> list[dict[str, Any]]:
    """One row for each size and set of outputs; times in milliseconds."""
    rows = []
    for size in SIZES:
        for outputs, limit in zip(OUTPUTS, LIMITS[size], strict=True):
            action, camera = ours(size, outputs)
            times = by_turns([plain(size, outputs), action], runs)
            theirs, own = np.median(times, axis=1)
            if not camera.health.counts["published"]:
                raise SystemExit(f"nothing was published: {camera.health.counts}")
            rows.append(
                {
                    "size": f"{size[1]}x{size[0]}",
                    "outputs": outputs,
                    "plain_ms": round(theirs, 3),
                    "ours_ms": round(own, 3),
                    "ratio": round(own / theirs, 4),
                    "ratio_of_least": round(float(np.divide(*times.min(axis=1)[::-1])), 4),
                    "limit": limit,
                    "stages_ms": {name: round(value, 3) for name, value in camera.health.medians().items()},
                }
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| images | published | plain (ms) | ours (ms) | ratio | of the least | limit | stages of ours (ms) |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        stages = ", ".join(f"{name} {value:.2f}" for name, value in row["stages_ms"].items() if name != "age")
        lines.append(
            f"| {row['size']} | {row['outputs']} | {row['plain_ms']:.2f} | {row['ours_ms']:.2f} | {row['ratio']:.3f} "
            f"| {row['ratio_of_least']:.3f} | {row['limit']} | {stages} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="of each, after three to warm up")
    parser.add_argument("--quick", action="store_true", help="5 runs")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    args = parser.parse_args(argv)
    return_large_blocks()  # as the node does
    rows = measure(5 if args.quick else args.runs)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"frame_path": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
