"""Frames and maps to another size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import RgbdFrame


def resize_frame(frame: RgbdFrame, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Bring a frame to the network's (height, width): RGB bilinear, depth nearest; no copy where it has that size.

    Returns rgb (h, w, 3) uint8 and depth (h, w) float32 metres, NaN where unknown.
    """
    if frame.size == size:
        return frame.rgb, frame.depth
    height, width = size
    rgb = cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    depth = cv2.resize(frame.depth, (width, height), interpolation=cv2.INTER_NEAREST)
    return rgb, depth  # type: ignore[return-value]


def resize_nearest(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring a label or confidence map (h, w) uint8 to (height, width), nearest; no copy where it has that size."""
    if image.shape == size:
        return image
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]
