"""ROS image messages to arrays and back: encodings, row steps, byte order, compressed forms."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from asymformer_ros.errors import DependencyError, FrameError
from asymformer_ros.frames.depth import decode_compressed_depth, metres_from_float, metres_from_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import MAX_PIXELS, check_size, decode_image
from asymformer_ros.frames.resize import resize_nearest
from asymformer_ros.optional import importing

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
_BRIDGE_PREFIXES = ("bayer_", "yuv", "nv", "uyvy", "yuyv")
_BAYER_MINIMUM = 3  # pixels
_MAX_ASPECT_DIFFERENCE = 0.01


def frame_from_messages(
    rgb: Image | CompressedImage, depth: Image | CompressedImage | None, max_pixels: int = MAX_PIXELS
) -> RgbdFrame:
    """Convert a synchronised pair. Uncompressed rgb8 is a view on the message's own data.

    Depth of another size but the same aspect ratio is brought to the colour image's size (nearest); None makes depth
    that is nowhere known. Raises FrameError for an encoding, layout or size that cannot be segmented, and for more
    pixels, naming it.
    """
    for message in (rgb, depth):
        if isinstance(message, Image):
            check_size(message.width, message.height, max_pixels)
    colour = _compressed_rgb(rgb, max_pixels) if isinstance(rgb, CompressedImage) else _rgb(rgb)
    if depth is None:
        return RgbdFrame(colour, np.full(colour.shape[:2], np.nan, dtype=np.float32))
    metres = _compressed_depth(depth, max_pixels) if isinstance(depth, CompressedImage) else _depth(depth)
    if colour.shape[:2] != metres.shape:
        metres = _depth_at_colour_size(metres, colour.shape[1], colour.shape[0])
    return RgbdFrame(colour, metres)


def image_size(info: CameraInfo) -> tuple[int, int]:
    """(height, width) of the images that a CameraInfo is for: its region of interest, binned."""
    height, width = info.roi.height or info.height, info.roi.width or info.width
    return height // max(info.binning_y, 1), width // max(info.binning_x, 1)


def image_message(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Wrap (H, W) or (H, W, C) pixels of the encoding's type, in this machine's byte order."""
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.is_bigendian = int(sys.byteorder == "big")
    message.step = pixels.nbytes // pixels.shape[0]
    # One copy; some versions of rclpy make another of what is assigned, and array("B", buffer) goes element by element.
    message.data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return message


def _rgb(message: Image) -> NDArray[np.uint8]:
    if message.encoding in _BAYER:
        return _demosaiced(_pixels(message, np.dtype(np.uint8), 1), message.encoding)
    channels = _COLOUR_CHANNELS.get(message.encoding)
    if channels is None:
        return _rgb_by_cv_bridge(message)
    pixels = _pixels(message, np.dtype(np.uint8), channels)
    if message.encoding == "rgb8":
        return pixels
    return cv2.cvtColor(pixels, _TO_RGB[message.encoding])  # type: ignore[return-value]


def _rgb_by_cv_bridge(message: Image) -> NDArray[np.uint8]:
    expected = (
        f"expected {', '.join(_COLOUR_CHANNELS)}, bayer of 8 bit, or with cv_bridge bayer of 16 bit or a yuv encoding"
    )
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


def _demosaiced(mosaic: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    if min(mosaic.shape) < _BAYER_MINIMUM:
        raise FrameError(f"{encoding} image is {mosaic.shape[1]}x{mosaic.shape[0]}: too small for its pattern")
    return cv2.cvtColor(mosaic, _BAYER[encoding])  # type: ignore[return-value]


def _compressed_rgb(message: CompressedImage, max_pixels: int) -> NDArray[np.uint8]:
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


def _depth(message: Image) -> NDArray[np.float32]:
    kind = _DEPTH_TYPES.get(message.encoding)
    if kind is None:
        raise FrameError(
            f"depth image has encoding '{message.encoding}': expected 16UC1 or mono16 (millimetres) or 32FC1 (metres)"
        )
    pixels = _pixels(message, np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<"), 1)
    return metres_from_float(pixels) if kind == "f4" else metres_from_millimetres(pixels)


def _compressed_depth(message: CompressedImage, max_pixels: int) -> NDArray[np.float32]:
    return decode_compressed_depth(np.frombuffer(message.data, dtype=np.uint8), message.format, max_pixels)


def _depth_at_colour_size(metres: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    rows, columns = metres.shape
    if abs(columns * height / (rows * width) - 1) > _MAX_ASPECT_DIFFERENCE:
        raise FrameError(
            f"colour is {width}x{height} but depth is {columns}x{rows}, another aspect ratio: "
            "publish depth that is registered (aligned) to the colour camera"
        )
    return resize_nearest(metres, (height, width))


def _pixels(message: Image, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
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
