"""Depth images: units, invalid values and the compressed forms, decided by the encoding (REP 117, REP 118).

Everything comes out as (H, W) float32 metres, NaN where depth is unknown.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.images import MAX_PIXELS, PNG_MAGIC, decode_image

_HEADER = struct.Struct("<iff")  # compressedDepth: format enum, then the two quantisation parameters
_RVL_SIZE = struct.Struct("<ii")  # columns, rows
_LARGEST = 1e6  # metres: what is beyond is rubbish, and would overflow in the network
_FARTHEST_MEDIAN = 100.0  # metres: no RGB-D camera sees half of its image farther away
_RVL_MAX_NIBBLES = 10  # 30 bits: more than any count of pixels or difference of two uint16 needs


Depth = NDArray[np.float32 | np.uint16]
"""(H, W) float32 metres, NaN where unknown, or uint16 millimetres, 0 where unknown."""


def metres_from_millimetres(depth: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Convert (H, W) unsigned millimetres, 0 where unknown, to float32 metres, NaN where unknown."""
    metres = np.multiply(depth, np.float32(0.001), dtype=np.float32)
    metres[depth == 0] = np.nan
    return metres


def metres_from_float(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Copy (H, W) float metres with everything that is not positive and below 1000 km made NaN."""
    metres = depth.astype(np.float32)
    metres[~((depth > 0) & (depth < _LARGEST))] = np.nan
    return metres


def depth_in_metres(depth: NDArray[Any]) -> NDArray[np.float32]:
    """Depth as people have it, uint16 millimetres or float metres, as float32 metres, NaN where unknown.

    Raises FrameError for another type, and for floats that can only be millimetres.
    """
    if depth.dtype == np.uint16:
        return metres_from_millimetres(depth)
    if not np.issubdtype(depth.dtype, np.floating):
        raise FrameError(f"depth is {depth.dtype}: expected uint16 millimetres or float32 metres")
    metres = metres_from_float(depth)
    known = metres[np.isfinite(metres)]
    median = float(np.median(known)) if known.size else 0.0
    if median > _FARTHEST_MEDIAN:
        raise FrameError(
            f"depth is {depth.dtype} with a median of {median:.0f}: that is millimetres, but float depth is in metres; "
            "divide by 1000, or give it as uint16"
        )
    return metres


def depth_bytes(depth: Depth) -> NDArray[np.uint8]:
    """Pack (..., H, W) depth as (..., H, W, 2) uint8, whole millimetres, low byte first: what exported models take.

    A view where depth is in millimetres.
    """
    return np.ascontiguousarray(depth_millimetres(depth), "<u2").view(np.uint8).reshape(*depth.shape, 2)


def depth_metres(depth: Depth) -> NDArray[np.float32]:
    """Depth as float32 metres, NaN where unknown; itself where it is that."""
    return metres_from_millimetres(depth) if depth.dtype == np.uint16 else depth  # type: ignore[arg-type, return-value]


def depth_millimetres(depth: Depth) -> NDArray[np.uint16]:
    """Depth as whole millimetres, 0 unknown, rounded and held within 0..65535; itself where it is that."""
    if depth.dtype == np.uint16:
        return depth  # type: ignore[return-value]
    millimetres = depth * np.float32(1000)
    np.fmax(millimetres, 0, out=millimetres)  # NaN, too, becomes 0
    np.fmin(millimetres, 65535, out=millimetres)
    np.rint(millimetres, out=millimetres)
    return millimetres.astype(np.uint16)


def decode_compressed_depth(
    data: NDArray[np.uint8], transport_format: str, max_pixels: int = MAX_PIXELS
) -> NDArray[np.float32]:
    """Decode the payload of a compressed depth message to float32 metres, NaN where unknown.

    data: (n,) uint8: the 12-byte header of compressed_depth_image_transport and a PNG or RVL image; or a PNG image of
    16 bit alone, which the transport `compressed` makes of depth. transport_format: the message's `format`, e.g.
    "16UC1; compressedDepth png" or "16UC1; png compressed ".
    Raises FrameError for another format, for damaged data and for more pixels than `max_pixels`.
    """
    encoding = transport_format.split(";")[0].strip()
    if "compressedDepth" not in transport_format and encoding != "32FC1" and _is_png(data):
        return metres_from_millimetres(_decode_png(data, max_pixels))
    if "compressedDepth" not in transport_format or encoding not in ("16UC1", "mono16", "32FC1"):
        raise FrameError(
            f"compressed depth has format '{transport_format}': expected '16UC1; compressedDepth', "
            "'32FC1; compressedDepth' or a PNG of 16 bit (JPEG cannot hold depth: use the compressedDepth transport)"
        )
    if data.size <= _HEADER.size:
        raise FrameError(f"compressed depth holds {data.size} bytes: too few for its header and an image")
    _, quant_a, quant_b = _HEADER.unpack_from(data.data)
    payload = data[_HEADER.size :]
    raw = _decode_png(payload, max_pixels) if _is_png(payload) else decode_rvl(payload, max_pixels)
    if encoding != "32FC1":
        return metres_from_millimetres(raw)
    with np.errstate(divide="ignore", invalid="ignore"):
        return metres_from_float(np.where(raw > 0, np.float32(quant_a) / (raw - np.float32(quant_b)), np.float32(0)))


def _is_png(data: NDArray[np.uint8]) -> bool:
    return data[: len(PNG_MAGIC)].tobytes() == PNG_MAGIC


def _decode_png(payload: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint16]:
    image = decode_image(payload, cv2.IMREAD_UNCHANGED, max_pixels)
    if image is None:
        raise FrameError("compressed depth holds a damaged PNG image")
    if image.dtype != np.uint16 or image.ndim != 2:
        raise FrameError(f"compressed depth holds a {image.dtype} image of shape {image.shape}: expected 16 bit, grey")
    return image  # type: ignore[return-value]


def decode_rvl(payload: NDArray[np.uint8], max_pixels: int = MAX_PIXELS) -> NDArray[np.uint16]:
    """Decode an RVL image (Wilson 2017, "Fast Lossless Depth Image Compression") to (H, W) uint16.

    payload: (n,) uint8: columns and rows as int32, then 32-bit words of eight nibbles each, highest first. A number
    is a run of nibbles, lowest three bits first, whose top bit says that more follow. The numbers are: count of
    zeros, count of values, the values' zigzag differences, and again. Raises FrameError for damaged data.
    """
    if payload.size < _RVL_SIZE.size:
        raise FrameError("compressed depth holds neither a PNG nor an RVL image")
    columns, rows = _RVL_SIZE.unpack_from(payload.data)
    if columns <= 0 or rows <= 0 or columns * rows > max_pixels:
        raise FrameError(
            f"compressed depth holds neither a PNG nor an RVL image of at most {max_pixels} pixels (its size reads "
            f"{columns}x{rows})"
        )
    numbers = _rvl_numbers(payload[_RVL_SIZE.size :])
    is_value = np.zeros(numbers.size, dtype=bool)
    filled = np.zeros(columns * rows, dtype=bool)
    pixel = at = 0
    while pixel < filled.size:
        if at + 1 >= numbers.size:
            raise FrameError(f"compressed depth's RVL image ends after {pixel} of {filled.size} pixels")
        zeros, values = int(numbers[at]), int(numbers[at + 1])
        first, pixel = pixel + zeros, pixel + zeros + values
        filled[first:pixel] = True
        is_value[at + 2 : at + 2 + values] = True
        at += 2 + values
    if pixel != filled.size or at > numbers.size:
        raise FrameError(f"compressed depth's RVL image does not fill its {columns}x{rows} pixels exactly")
    zigzag = numbers[is_value]
    depth = np.zeros(filled.size, dtype=np.uint16)
    depth[filled] = np.cumsum((zigzag >> 1) ^ -(zigzag & 1)).astype(np.uint16)
    return depth.reshape(rows, columns)


def _rvl_numbers(payload: NDArray[np.uint8]) -> NDArray[np.int32]:
    """All variable-length numbers of an RVL stream, at once: (n,) int32."""
    words = payload[: payload.size // 4 * 4].reshape(-1, 4)[:, ::-1]  # little-endian words, highest nibble first
    pairs = np.empty((len(words), 4, 2), dtype=np.uint8)
    np.right_shift(words, 4, out=pairs[..., 0])
    np.bitwise_and(words, 15, out=pairs[..., 1])
    nibbles = pairs.reshape(-1)
    ends = np.flatnonzero(nibbles < 8)
    if ends.size == 0:
        return np.zeros(0, dtype=np.int32)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _RVL_MAX_NIBBLES:
        raise FrameError(f"compressed depth's RVL image holds a number of {lengths.max()} nibbles: the data is damaged")
    digits = nibbles & 7
    numbers = digits[starts].astype(np.int32)
    for digit in range(1, int(lengths.max())):
        longer = np.flatnonzero(lengths > digit)
        numbers[longer] |= digits[starts[longer] + digit].astype(np.int32) << (3 * digit)
    return numbers
