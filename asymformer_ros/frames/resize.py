"""Frames and maps to another size."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.depth import Depth
from asymformer_ros.frames.frame import RgbdFrame

Pixels = TypeVar("Pixels", NDArray[np.float32], NDArray[np.uint16], Depth)
Map = TypeVar("Map", NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint16], Depth)


def resize_frame(frame: RgbdFrame, size: tuple[int, int]) -> tuple[NDArray[np.uint8], Depth]:
    """The rgb and raw depth of a frame as `resize_pair` makes them: what a backend takes."""
    return resize_pair(frame.rgb, frame.raw_depth, size)


def resize_pair(rgb: NDArray[np.uint8], depth: Pixels, size: tuple[int, int]) -> tuple[NDArray[np.uint8], Pixels]:
    """Bring a pair to the network's (height, width): RGB bilinear, depth nearest; no copy where it has that size.

    rgb: (H, W, 3) uint8. depth: (H, W) in any unit, of which nearest invents no value between two surfaces.
    """
    if depth.shape == size:
        return rgb, depth
    colour = cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return colour, resize_nearest(depth, size)  # type: ignore[return-value]


def resize_nearest(image: Map, size: tuple[int, int]) -> Map:
    """Bring labels, confidence or depth (h, w) to (height, width), nearest; no copy where it has that size."""
    if image.shape == size:
        return image
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]
