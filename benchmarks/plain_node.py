"""A plain segmentation node's callback, the measure of `frame_path.py`: what tutorials and most networks' demos do.

cv_bridge-style copies, normalisation in NumPy floats, a palette by fancy indexing, a loop over classes with masks, a
meshgrid for points, messages of `tobytes()`; all of it in the subscription's callback, whoever subscribes.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

_MEAN, _STD = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
_FIELDS = [PointField(name=name, offset=4 * at, datatype=7, count=1) for at, name in enumerate("xyz")]


@dataclass
class PlainNode:
    """infer: labels and confidence, (h, w) uint8 each, of (1, 3, h, w) and (1, 1, h, w) float32. publish: takes all.

    outputs: "labels", with "overlay", or "all".
    """

    infer: Callable[[NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    publish: Callable[[Any], None]
    size: tuple[int, int]
    palette: NDArray[np.uint8]
    focal: float
    outputs: str
    published: list[Any] = field(default_factory=list)

    def callback(self, rgb_message: Image, depth_message: Image) -> None:
        rgb = _array(rgb_message, np.uint8, 3)
        depth = _array(depth_message, np.uint16, 1)[..., 0].astype(np.float32) / 1000.0
        height, width = depth.shape
        colour = cv2.resize(rgb, self.size[::-1]) if (height, width) != self.size else rgb
        near = (
            cv2.resize(depth, self.size[::-1], interpolation=cv2.INTER_NEAREST) if depth.shape != self.size else depth
        )
        normalised = ((colour.astype(np.float32) / 255.0 - _MEAN) / _STD).transpose(2, 0, 1)[None]
        labels, confidence = self.infer(np.ascontiguousarray(normalised), near[None, None])
        if labels.shape != (height, width):
            labels, confidence = (
                cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST) for image in (labels, confidence)
            )
        header = rgb_message.header
        self.publish(_message(labels, "mono8", header))
        if self.outputs == "labels":
            return
        color = self.palette[labels]
        self.publish(_message((np.float32(0.5) * rgb + np.float32(0.5) * color).astype(np.uint8), "rgb8", header))
        if self.outputs == "overlay":
            return
        self.publish(_message(color, "rgb8", header))
        self.publish(_message(confidence, "mono8", header))
        self.publish(_summary(labels, confidence, depth))
        self.publish(self._cloud(depth, header))

    def _cloud(self, depth: NDArray[np.float32], header: Header) -> PointCloud2:
        height, width = depth.shape
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        x, y = (columns - width / 2) * depth / self.focal, (rows - height / 2) * depth / self.focal
        points = np.stack([x, y, depth], axis=-1).astype(np.float32)
        data = array.array("B")
        data.frombytes(points.tobytes())
        return PointCloud2(
            header=header, height=height, width=width, fields=_FIELDS, point_step=12, row_step=12 * width, data=data
        )


def _array(message: Image, dtype: Any, channels: int) -> NDArray[Any]:
    """As cv_bridge does it: a copy."""
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels).copy()


def _message(pixels: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.nbytes // pixels.shape[0]
    message.data.frombytes(pixels.tobytes())  # assigning bytes takes 10 times as long: this is plain, not slow
    return message


def _summary(labels: NDArray[np.uint8], confidence: NDArray[np.uint8], depth: NDArray[np.float32]) -> list[Any]:
    rows = []
    for label in np.unique(labels):
        mask = labels == label
        y, x = np.nonzero(mask)
        known = depth[mask & (depth > 0)]
        nearest = known.min() if known.size else np.nan
        rows.append((label, mask.mean(), confidence[mask].mean() / 255, nearest, x.mean(), y.mean()))
    return rows
