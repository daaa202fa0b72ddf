"""Image and calibration messages to arrays: encodings, row steps, byte order, compressed forms.

A message is any object with the fields of sensor_msgs' type of that name: a ROS installation's, or of a bag's reader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import (
    Depth,
    decode_compressed_depth,
    depth_metres,
    depth_millimetres,
    metres_from_float,
)
from asymformer_ros.frames.frame import MillimetreFrame, RgbdFrame
from asymformer_ros.frames.images import MAX_PIXELS, check_size, decode_image
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.resize import resize_nearest

_COLOUR_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}
_BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,  # OpenCV names a pattern by its second row and column
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
_DEPTH_TYPES = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_BAYER_MINIMUM = 3  # pixels
_MAX_ASPECT_DIFFERENCE = 0.01

Message = Any
"""It has the fields of sensor_msgs' Image, CompressedImage or CameraInfo."""

EXPECTED_ENCODINGS = f"{', '.join(_COLOUR_CHANNELS)} or bayer of 8 bit"
"""Of colour, for people."""


def _refuse(message: Message) -> NDArray[np.uint8]:
    raise FrameError(f"colour image has encoding '{message.encoding}': expected {EXPECTED_ENCODINGS}")


OtherRgb = Callable[[Message], NDArray[np.uint8]]


def frame_from_messages(
    rgb: Message, depth: Message | None, max_pixels: int = MAX_PIXELS, other_rgb: OtherRgb = _refuse
) -> RgbdFrame:
    """Convert a synchronised pair, Image or CompressedImage. Uncompressed rgb8 and 16UC1 are views on messages' data.

    Depth of another size but the same aspect ratio is brought to the colour image's size (nearest); None makes depth
    that is nowhere known. Raises FrameError for an encoding, layout or size that cannot be segmented, and for more
    pixels, naming it. other_rgb: makes (H, W, 3) uint8 of an image whose encoding is none of those that are known here.
    """
    for message in (rgb, depth):
        if message is not None and not _is_compressed(message):
            check_size(message.width, message.height, max_pixels)
    colour = _compressed_rgb(rgb, max_pixels) if _is_compressed(rgb) else _rgb(rgb, other_rgb)
    if depth is None:
        return RgbdFrame(colour, np.full(colour.shape[:2], np.nan, dtype=np.float32))
    known = _compressed_depth(depth, max_pixels) if _is_compressed(depth) else _depth(depth)
    if colour.shape[:2] != known.shape:
        known = _depth_at_colour_size(known, colour.shape[1], colour.shape[0])
    if known.dtype == np.uint16:
        return MillimetreFrame(colour, depth_millimetres(known))
    return RgbdFrame(colour, depth_metres(known))


def image_size(info: Message) -> tuple[int, int]:
    """(height, width) of the images that a CameraInfo is for: its region of interest, binned."""
    height, width = info.roi.height or info.height, info.roi.width or info.width
    return height // max(info.binning_y, 1), width // max(info.binning_x, 1)


def is_for(info: Message, size: tuple[int, int]) -> bool:
    """Whether a calibration is for images of this size, (height, width): whole ones, or its region of interest."""
    return size in ((info.height, info.width), image_size(info))


def intrinsics_of(info: Message | None, size: tuple[int, int]) -> Intrinsics:
    """The projection of images of this size, (height, width), of a calibration that `is_for` them.

    It is that of rectified images (P), or K where P is empty; region of interest and binning count where the images
    have them (REP 104, sensor_msgs/CameraInfo). Raises FrameError where none has come, ConfigurationError where its
    values make no sense.
    """
    if info is None:
        raise FrameError(
            "no camera info has come: remap rgb/camera_info to the colour camera's; where its driver publishes that "
            "only once, set qos_overrides (docs/node.md)"
        )
    fx, cx, fy, cy = (info.p[at] for at in (0, 2, 5, 6)) if info.p[0] else (info.k[at] for at in (0, 2, 4, 5))
    if size == image_size(info):
        binning_x, binning_y = max(info.binning_x, 1), max(info.binning_y, 1)
        cx, cy = (cx - info.roi.x_offset) / binning_x, (cy - info.roi.y_offset) / binning_y
        fx, fy = fx / binning_x, fy / binning_y
    return Intrinsics(size[1], size[0], float(fx), float(fy), float(cx), float(cy))


def _is_compressed(message: Message) -> bool:
    return hasattr(message, "format")


def _rgb(message: Message, other_rgb: OtherRgb) -> NDArray[np.uint8]:
    if message.encoding in _BAYER:
        return _demosaiced(_pixels(message, np.dtype(np.uint8), 1), message.encoding)
    channels = _COLOUR_CHANNELS.get(message.encoding)
    if channels is None:
        return other_rgb(message)
    pixels = _pixels(message, np.dtype(np.uint8), channels)
    if message.encoding == "rgb8":
        return pixels
    return cv2.cvtColor(pixels, _TO_RGB[message.encoding])  # type: ignore[return-value]


def _demosaiced(mosaic: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    if min(mosaic.shape) < _BAYER_MINIMUM:
        raise FrameError(f"{encoding} image is {mosaic.shape[1]}x{mosaic.shape[0]}: too small for its pattern")
    return cv2.cvtColor(mosaic, _BAYER[encoding])  # type: ignore[return-value]


def _compressed_rgb(message: Message, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image whose format is a name alone ("jpeg"), or image_transport's "ENCODING; png compressed ORDER"."""
    encoding, _, compression = message.format.partition(";")
    if encoding.strip() in _DEPTH_TYPES:
        raise FrameError(
            f"compressed colour image has format '{message.format}': that is depth or infrared on the colour topic"
        )
    is_mosaic = encoding.strip() in _BAYER and "compressed bgr" not in compression
    flags = (cv2.IMREAD_GRAYSCALE if is_mosaic else cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    image = decode_image(np.frombuffer(message.data, dtype=np.uint8), flags, max_pixels)
    if image is None:
        raise FrameError(
            f"compressed colour image of format '{message.format}' and {len(message.data)} bytes cannot be decoded: "
            "expected a whole JPEG or PNG image"
        )
    if is_mosaic:
        return _demosaiced(image, encoding.strip())
    if "compressed rgb" in compression:  # its channels were given to the encoder in that order
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _depth(message: Message) -> Depth:
    """(H, W) float32 metres, or uint16 millimetres as they came."""
    kind = _DEPTH_TYPES.get(message.encoding)
    if kind is None:
        raise FrameError(
            f"depth image has encoding '{message.encoding}': expected 16UC1 or mono16 (millimetres) or 32FC1 (metres)"
        )
    pixels = _pixels(message, np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<"), 1)
    return metres_from_float(pixels) if kind == "f4" else np.ascontiguousarray(pixels, np.uint16)


def _compressed_depth(message: Message, max_pixels: int) -> NDArray[np.float32]:
    return decode_compressed_depth(np.frombuffer(message.data, dtype=np.uint8), message.format, max_pixels)


def _depth_at_colour_size(depth: Depth, width: int, height: int) -> Depth:
    rows, columns = depth.shape
    if abs(columns * height / (rows * width) - 1) > _MAX_ASPECT_DIFFERENCE:
        raise FrameError(
            f"colour is {width}x{height} but depth is {columns}x{rows}, another aspect ratio: "
            "publish depth that is registered (aligned) to the colour camera"
        )
    return resize_nearest(depth, (height, width))


def _pixels(message: Message, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """View a message's data as (H, W) or (H, W, channels), honouring its row step."""
    height, width, step = message.height, message.width, message.step
    row = width * channels * dtype.itemsize
    if height == 0 or width == 0:
        raise FrameError(f"{message.encoding} image is empty: {width}x{height} pixels")
    if step < row or len(message.data) < step * (height - 1) + row:
        raise FrameError(
            f"{message.encoding} image of {width}x{height} pixels has step {step} and {len(message.data)} bytes: "
            f"expected a step of at least {row} and {max(step, row) * height} bytes"
        )
    data = np.frombuffer(message.data, dtype=np.uint8)
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1))
    pixels = rows.view(dtype)
    return pixels.reshape(height, width, channels) if channels > 1 else pixels


def stamp_ns(header: Message) -> int:
    """A header's stamp in nanoseconds; below 0 where a driver sends that."""
    stamp = header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
