"""Depth pixels as coloured, labelled points of the camera's optical frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u4"), ("confidence", "<f4")])
"""One point: x right, y down, z ahead in metres (REP 103), rgb as 0x00RRGGBB, label, confidence 0..1."""

_RGB = np.uint32(0xFFFFFF)
_SHARE = np.float32(1 / 255)


class PointProjector:
    """Turns frames of one camera into points; what does not change from frame to frame is computed once."""

    def __init__(self, intrinsics: Intrinsics) -> None:
        self.intrinsics = intrinsics
        self._right = ((np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx).astype(np.float32)
        self._down = ((np.arange(intrinsics.height) - intrinsics.cy) / intrinsics.fy).astype(np.float32)[:, None]
        self._bgra = np.empty((intrinsics.height, intrinsics.width, 4), np.uint8)

    def project(
        self, frame: RgbdFrame, labels: NDArray[np.uint8], confidence: NDArray[np.uint8], out: NDArray[np.void]
    ) -> None:
        """Fill `out`, (H, W) of POINT, with the point of each pixel; x, y and z are NaN where depth is unknown.

        labels, confidence: (H, W), the latter 0..255. All have the size that the intrinsics are for.
        """
        np.multiply(frame.depth, self._right, out=out["x"])
        np.multiply(frame.depth, self._down, out=out["y"])
        out["z"] = frame.depth
        cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGRA, dst=self._bgra)
        packed = self._bgra.view("<u4")[..., 0]
        out["rgb"] = np.bitwise_and(packed, _RGB, out=packed)  # with opaque alpha many colours would be NaN as a float
        out["label"] = labels
        np.multiply(confidence, _SHARE, out=out["confidence"])
