"""Arrays to ROS image messages, and `frames/messages.py` with cv_bridge for the encodings that it does not know."""

from __future__ import annotations

import array
import sys
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from asymformer_ros.errors import DependencyError, FrameError
from asymformer_ros.frames import messages
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import MAX_PIXELS
from asymformer_ros.frames.messages import EXPECTED_ENCODINGS
from asymformer_ros.optional import importing

_BRIDGE_PREFIXES = ("bayer_", "yuv", "nv", "uyvy", "yuyv")


def frame_from_messages(
    rgb: Image | CompressedImage, depth: Image | CompressedImage | None, max_pixels: int = MAX_PIXELS
) -> RgbdFrame:
    """As `frames.messages.frame_from_messages`; what that does not know of colour goes through cv_bridge."""
    return messages.frame_from_messages(rgb, depth, max_pixels, _rgb_by_cv_bridge)


def image_message(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Wrap (H, W) or (H, W, C) pixels of the encoding's type, in this machine's byte order."""
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.is_bigendian = int(sys.byteorder == "big")
    message.step = pixels.nbytes // pixels.shape[0]
    # One copy; some versions of rclpy make another of what is assigned, and array("B", buffer) goes element by element.
    message.data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return message


class ImageWriter:
    """Writes one image of 8 bit after the other into the same message, whose memory stays."""

    def __init__(self, encoding: str) -> None:
        self._message = Image(encoding=encoding, is_bigendian=int(sys.byteorder == "big"))
        self._pixels: NDArray[np.uint8] = np.empty(0, np.uint8)

    def pixels(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The message's own pixels, (H, W) or (H, W, C), to be filled; they hold the image before."""
        if self._pixels.shape != shape:
            message = self._message
            message.height, message.width, message.step = shape[0], shape[1], prod(shape[1:])
            message.data = array.array("B", bytes(prod(shape)))
            self._pixels = np.frombuffer(message.data, np.uint8).reshape(shape)
        return self._pixels

    def message(self, header: Header) -> Image:
        """The image; valid until the next one is written."""
        self._message.header = header
        return self._message


def _rgb_by_cv_bridge(message: Image) -> NDArray[np.uint8]:
    expected = f"expected {EXPECTED_ENCODINGS}, or with cv_bridge bayer of 16 bit or a yuv encoding"
    if not message.encoding.startswith(_BRIDGE_PREFIXES):
        raise FrameError(f"colour image has encoding '{message.encoding}': {expected}")
    try:
        with importing("cv_bridge", f"encoding '{message.encoding}' of the colour image"):
            from cv_bridge import CvBridge
    except DependencyError as error:
        raise FrameError(f"{error}; {expected}") from error
    try:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")  # type: ignore[no-any-return]
    except Exception as error:  # cv_bridge raises its own type, cv2.error and TypeError
        raise FrameError(f"cv_bridge cannot convert encoding '{message.encoding}' to rgb8: {error}") from error
