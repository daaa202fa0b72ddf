"""Depth pixels as coloured, labelled points of the camera's optical frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u4"), ("confidence", "<f4")])
"""One point: x right, y down, z ahead in metres (REP 103), rgb as 0x00RRGGBB, label, confidence 0..1."""

_BAND = 1 << 21  # bytes of points that are filled together, field by field: they stay in the processor's cache
_RGB = np.array(0xFFFFFF, np.uint32)
_SHARE = np.array(1 / 255, np.float32)


@dataclass(frozen=True)
class _Band:
    """Some rows: where they are, the rays through their pixels, each of its own, and their points, field by field."""

    rows: slice
    right: NDArray[np.float32]
    down: NDArray[np.float32]
    bgra: NDArray[np.uint8]
    fields: tuple[NDArray[Any], ...]


class PointProjector:
    """Turns frames of one camera into points; what does not change from frame to frame is computed once.

    out: (H, W) of POINT, of the size that the intrinsics are for, which each frame fills anew.
    """

    def __init__(self, intrinsics: Intrinsics, out: NDArray[np.void]) -> None:
        self.intrinsics = intrinsics
        right = ((np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx).astype(np.float32)
        down = ((np.arange(intrinsics.height) - intrinsics.cy) / intrinsics.fy).astype(np.float32)[:, None]
        count = max(1, _BAND // (POINT.itemsize * intrinsics.width))
        bgra = np.empty((count, intrinsics.width, 4), np.uint8)
        self._bands: list[_Band] = []
        for start in range(0, intrinsics.height, count):
            rows = slice(start, start + count)
            points = out[rows]
            x, y = (np.ascontiguousarray(np.broadcast_to(ray, points.shape)) for ray in (right, down[rows]))
            fields = tuple(points[name] for name in POINT.names or ())
            self._bands.append(_Band(rows, x, y, bgra[: len(points)], fields))

    def project(self, frame: RgbdFrame, labels: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Fill `out` with the point of each pixel; x, y and z are NaN where depth is unknown.

        labels, confidence: (H, W), the latter 0..255. All have the size that the intrinsics are for.
        """
        for band in self._bands:
            x, y, z, rgb, label, share = band.fields
            depth = frame.depth[band.rows]
            np.multiply(depth, band.right, out=x)
            np.multiply(depth, band.down, out=y)
            np.copyto(z, depth)
            np.copyto(rgb, _packed(frame.rgb[band.rows], band.bgra))
            np.copyto(label, labels[band.rows])
            np.multiply(confidence[band.rows], _SHARE, out=share)


def _packed(rgb: NDArray[np.uint8], bgra: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(h, W) 0x00RRGGBB; with opaque alpha, 0xFFRRGGBB, half of the colours would be NaN where read as a float.

    bgra: (h, W, 4), what the answer is a view of.
    """
    cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA, dst=bgra)
    packed = bgra.view("<u4")[..., 0]
    return np.bitwise_and(packed, _RGB, out=packed)
