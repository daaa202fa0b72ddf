"""Depth pixels as coloured, labelled points of the camera's optical frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u4"), ("confidence", "<f4")])
"""One point: x right, y down, z ahead in metres (REP 103), rgb as 0x00RRGGBB, label, confidence 0..1."""

_BAND = 1 << 21  # bytes of points that are filled together, field by field: they stay in the processor's cache
_RGB = np.uint32(0xFFFFFF)
_SHARE = np.float32(1 / 255)


class PointProjector:
    """Turns frames of one camera into points; what does not change from frame to frame is computed once."""

    def __init__(self, intrinsics: Intrinsics) -> None:
        self.intrinsics = intrinsics
        self._right = ((np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx).astype(np.float32)
        self._down = ((np.arange(intrinsics.height) - intrinsics.cy) / intrinsics.fy).astype(np.float32)[:, None]
        self._rows = max(1, _BAND // (POINT.itemsize * intrinsics.width))
        self._bgra = np.empty((self._rows, intrinsics.width, 4), np.uint8)

    def project(
        self, frame: RgbdFrame, labels: NDArray[np.uint8], confidence: NDArray[np.uint8], out: NDArray[np.void]
    ) -> None:
        """Fill `out`, (H, W) of POINT, with the point of each pixel; x, y and z are NaN where depth is unknown.

        labels, confidence: (H, W), the latter 0..255. All have the size that the intrinsics are for.
        """
        for start in range(0, self.intrinsics.height, self._rows):
            band = slice(start, start + self._rows)
            points, depth = out[band], frame.depth[band]
            np.multiply(depth, self._right, out=points["x"])
            np.multiply(depth, self._down[band], out=points["y"])
            points["z"] = depth
            points["rgb"] = self._packed(frame.rgb[band])
            points["label"] = labels[band]
            np.multiply(confidence[band], _SHARE, out=points["confidence"])

    def _packed(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """(h, W) 0x00RRGGBB; with opaque alpha, 0xFFRRGGBB, half of the colours would be NaN where read as a float."""
        bgra = self._bgra[: len(rgb)]
        cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA, dst=bgra)
        packed = bgra.view("<u4")[..., 0]
        return np.bitwise_and(packed, _RGB, out=packed)
