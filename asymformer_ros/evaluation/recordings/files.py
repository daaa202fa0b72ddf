"""The files of one segmented frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.unlabelled.source import Item
from asymformer_ros.errors import FrameError
from asymformer_ros.evaluation.recordings.store import Store
from asymformer_ros.frames.images import encode_indexed_png, encode_png
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.points import POINT, PointProjector
from asymformer_ros.inference.segmentation import Segmentation

_JPEG_QUALITY = 90
_PNG_END = b"IEND\xaeB`\x82"
_PLY = np.dtype(
    [
        *((name, "<f4") for name in ("x", "y", "z")),
        *((name, "u1") for name in ("red", "green", "blue", "label")),
        ("confidence", "<f4"),
    ]
)
_PLY_TYPES = {4: "float", 1: "uchar"}


@dataclass(frozen=True)
class FrameFiles:
    """Which files a frame gets, and how. palette: labels as indexed PNG. alpha: weight of the overlay's colours."""

    palette: bool = False
    points: bool = False
    alpha: float = 0.5

    def write(self, store: Store, item: Item, segmentation: Segmentation) -> dict[str, object]:
        """Write a frame's files; returns its line of the summary. Raises StoreError."""
        line: dict[str, object] = {"name": item.name, "labels": f"labels/{item.name}.png"}
        line |= {"overlay": f"overlay/{item.name}.jpg", **item.facts, **segmentation.summary()}
        store.write(f"overlay/{item.name}.jpg", encode_jpeg(segmentation.overlay(self.alpha)), to_disk=False)
        if self.points:
            try:
                content = encode_ply(segmentation, item.intrinsics(segmentation.frame.size))
            except FrameError as error:
                line["no_points"] = str(error)
            else:
                line["points"] = f"points/{item.name}.ply"
                store.write(f"points/{item.name}.ply", content, to_disk=False)
        store.write(f"labels/{item.name}.png", self._labels(segmentation), to_disk=False)
        return line

    def _labels(self, segmentation: Segmentation) -> bytes:
        if self.palette:
            return encode_indexed_png(segmentation.labels, segmentation.label_set.colors)
        return encode_png(segmentation.labels)


def is_whole(store: Store, line: dict[str, object]) -> bool:
    """Whether a frame that a line tells of has its labels: a power cut may have taken what was written last."""
    return (store.read(str(line["labels"])) or b"").endswith(_PNG_END)


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB as the content of a JPEG file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def encode_ply(segmentation: Segmentation, intrinsics: Intrinsics) -> bytes:
    """The points of known depth, of a segmentation with confidence, as the content of a binary PLY file."""
    assert segmentation.confidence is not None
    points = np.empty(segmentation.frame.size, POINT)
    PointProjector(intrinsics, points).project(segmentation.frame, segmentation.labels, segmentation.confidence)
    known = points[np.isfinite(points["z"])]
    out = np.empty(known.shape, _PLY)
    for name in ("x", "y", "z", "label", "confidence"):
        out[name] = known[name]
    for name, shift in (("red", 16), ("green", 8), ("blue", 0)):
        out[name] = known["rgb"] >> shift & 255
    properties = "".join(f"property {_PLY_TYPES[_PLY[name].itemsize]} {name}\n" for name in _PLY.names or ())
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {out.size}\n{properties}end_header\n"
    return header.encode() + out.tobytes()
