"""From messages to published messages with the network stubbed: this package against a plain node, by turns.

    python benchmarks/frame_path.py
    python benchmarks/frame_path.py --quick --json frame_path.json

The plain node is `plain_node.py`. Both get the same pair of messages (rgb8, 16UC1) and the same labels; publishers take
the message and drop it, so that serialisation, which is the same for both, is not in it. The stub packs its input as
ONNX Runtime gets it. Prints medians, their ratio, that of the least times, which load disturbs less, and the medians of
the stages of ours; then the time of a cloud of points against a copy of its bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from measuring import by_turns, command_line, finish, table
from numpy.typing import NDArray
from plain_node import PlainNode
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from asymformer_ros.frames.depth import Depth
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.points import POINT
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.signature import camera_feeds
from asymformer_ros.node.camera import Camera
from asymformer_ros.node.conversions import image_message
from asymformer_ros.node.frame_path import FramePath
from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.points import CloudWriter
from asymformer_ros.node.serving import Opened, Serving
from asymformer_ros.system.limits import keep_memory_small

NETWORK = (480, 640)
SIZES = ((480, 640), (720, 1280))
OUTPUTS = {
    "labels": {"labels"},
    "overlay": {"labels", "overlay"},
    "all": {"labels", "overlay", "color", "confidence", "summary", "camera_info", "points"},
}
_SECONDS = 20.0  # of a row, after which no further run begins
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
    path = FramePath(node, lambda: settings, Serving(Opened(Segmenter(backend))), [camera])
    pair = Pair(*scene_messages(size))
    return lambda: path.handle({0: pair}), camera


def plain(size: tuple[int, int], outputs: str) -> Callable[[], None]:
    """What handles one pair."""
    prediction, palette = Stub().prediction, label_set("nyuv2_40").color_table
    node = PlainNode(lambda rgb, depth: prediction, lambda message: None, NETWORK, palette, 525.0, outputs)
    rgb, depth, _ = scene_messages(size)
    return lambda: node.callback(rgb, depth)


def measure(runs: int) -> list[dict[str, Any]]:
    """One row for each size and set of outputs; times in milliseconds."""
    rows = []
    for size in SIZES:
        for outputs in OUTPUTS:
            action, camera = ours(size, outputs)
            times = by_turns([plain(size, outputs), action], runs, _SECONDS)
            if not camera.health.counts["published"]:
                raise SystemExit(f"nothing was published: {camera.health.counts}")
            stages = {name: round(value, 3) for name, value in camera.health.medians().items() if name != "age"}
            rows.append({**_row(size, outputs, times.wall, ("plain_ms", "ours_ms")), "stages_ms": stages})
    return rows


def measure_points(runs: int) -> list[dict[str, Any]]:
    """A cloud against a copy of its bytes: one row for each size."""
    rows = []
    for size in SIZES:
        count = size[0] * size[1] * POINT.itemsize
        copying = partial(np.copyto, np.zeros(count, np.uint8), np.ones(count, np.uint8))
        times = by_turns([copying, clouds(size)], runs, _SECONDS).wall
        rows.append(_row(size, "points", times, ("copy_ms", "cloud_ms")))
    return rows


def clouds(size: tuple[int, int]) -> Callable[[], object]:
    """Builds the cloud of one frame, a fifth of which has no depth."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.3, 5.0, size).astype(np.float32)
    depth[rng.random(size) < 0.2] = np.nan
    frame = RgbdFrame(rng.integers(0, 256, (*size, 3), np.uint8), depth)
    segmentation = Segmentation(*scene_labels(size), frame, label_set("nyuv2_40"))
    return partial(CloudWriter().message, Header(), segmentation, Intrinsics.typical(size[1], size[0]))


def _row(size: tuple[int, int], outputs: str, times: NDArray[np.float64], names: tuple[str, str]) -> dict[str, Any]:
    """times: (2, runs), of what is compared with and of ours; names: of their medians."""
    medians, least = np.median(times, axis=1), times.min(axis=1)
    figures = {
        **dict(zip(names, medians, strict=True)),
        "ratio": medians[1] / medians[0],
        "of_least": least[1] / least[0],
    }
    return {"size": f"{size[1]}x{size[0]}", "outputs": outputs} | {k: round(float(v), 4) for k, v in figures.items()}


def _told(rows: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]]) -> str:
    head = ("images", "published", "plain (ms)", "ours (ms)", "ratio", "of the least", "stages of ours (ms)")
    cells = [
        (
            *(row["size"], row["outputs"], f"{row['plain_ms']:.2f}", f"{row['ours_ms']:.2f}", f"{row['ratio']:.3f}"),
            *(f"{row['of_least']:.3f}", ", ".join(f"{name} {value:.2f}" for name, value in row["stages_ms"].items())),
        )
        for row in rows
    ]
    clouds_head = ("images", "copy of a cloud's bytes (ms)", "cloud (ms)", "ratio", "of the least")
    clouds_cells = [
        (
            row["size"],
            f"{row['copy_ms']:.2f}",
            f"{row['cloud_ms']:.2f}",
            f"{row['ratio']:.1f}",
            f"{row['of_least']:.1f}",
        )
        for row in points
    ]
    return f"{table(head, cells)}\n\n{table(clouds_head, clouds_cells)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables. Returns 0."""
    parser = command_line(__doc__, models=False)
    parser.add_argument("--runs", type=int, default=200, help="of each, after one to warm up (default: 200)")
    args = parser.parse_args(argv)
    keep_memory_small()  # as the node does
    runs = 2 if args.quick else args.runs
    rows, points = measure(runs), measure_points(runs)
    return finish(args, {"rows": rows, "points": points}, _told(rows, points))


if __name__ == "__main__":
    sys.exit(main())
