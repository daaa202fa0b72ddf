"""Image files to arrays and back; errors name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import AsymformerError, FrameError
from asymformer_ros.files import write_atomically


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A colour image as (H, W, 3) uint8, RGB order. Raises FrameError where it cannot be read.

    It comes as it is stored: turned as its EXIF orientation says it would no longer lie on its depth.
    """
    image = _read(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def read_depth(path: Path) -> NDArray[np.uint16]:
    """A depth image as (H, W) uint16. Raises FrameError where it cannot be read, or is not 16 bit and grey."""
    image = _read(path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise FrameError(f"'{path}' is a {image.dtype} image of shape {image.shape}: expected 16 bit, grey, for depth")
    return image


def read_labels(path: Path) -> NDArray[np.uint8 | np.uint16]:
    """A label image as (H, W), 8 or 16 bit as it is. Raises FrameError where it cannot be read, or is not grey."""
    image = _read(path, cv2.IMREAD_UNCHANGED)
    if image.ndim != 2:
        raise FrameError(f"'{path}' is an image of shape {image.shape}: expected grey, the class of each pixel")
    return image


def encode_png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """(H, W, 3) uint8 RGB, or (H, W) uint8 or uint16, as the content of a PNG file."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image)
    return data.tobytes()


def write_png(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG file, as `encode_png` makes it, whole or not at all. Raises AsymformerError."""
    try:
        write_atomically(path, encode_png(image))
    except OSError as error:
        raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error


def _read(path: Path, flags: int) -> NDArray[Any]:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise FrameError(f"'{path}' cannot be read: {error.strerror}") from error
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise FrameError(f"'{path}' is not a readable image: it is damaged or another format than its name says")
    return image
