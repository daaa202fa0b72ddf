"""Image files to arrays and back; errors name the file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import AsymformerError, FrameError
from asymformer_ros.system.files import write_atomically

MAX_PIXELS = 1 << 26
"""Of an image that is decoded where no limit is given: 8192x8192, more than any camera has."""

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
"""What a PNG file begins with."""

_PNG_SIZE, _PNG_SIZE_AT = struct.Struct(">II"), 16
_PNG_CHUNK = struct.Struct(">I4s")  # length and kind; then the data and four bytes of check sum
_GREY, _INDEXED = b"\0", b"\3"  # colour types of a PNG
_JPEG_SIZE, _JPEG_SCAN = struct.Struct(">HH"), 0xDA
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class File(Protocol):
    """A Path, or what has its method: a file behind a URL."""

    def read_bytes(self) -> bytes:
        """All of it. Raises OSError."""


def read_rgb(path: File) -> NDArray[np.uint8]:
    """A colour image as (H, W, 3) uint8, RGB order. Raises FrameError where it cannot be read.

    It comes as it is stored: turned as its EXIF orientation says it would no longer lie on its depth.
    """
    image = _read(path, partial(decode_image, flags=cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def read_depth(path: Path) -> NDArray[np.uint16]:
    """A depth image as (H, W) uint16. Raises FrameError where it cannot be read, or is not 16 bit and grey."""
    image = _read(path, partial(decode_image, flags=cv2.IMREAD_UNCHANGED))
    if image.dtype != np.uint16 or image.ndim != 2:
        raise FrameError(f"'{path}' is a {image.dtype} image of shape {image.shape}: expected 16 bit, grey, for depth")
    return image


def read_labels(path: File) -> NDArray[np.uint8 | np.uint16]:
    """A label image as (H, W), 8 or 16 bit as it is; of an indexed PNG, as annotation tools write it, the indices.

    Raises FrameError where it cannot be read, or is neither grey nor indexed.
    """
    image = _read(path, decode_labels)
    if image.ndim != 2:
        raise FrameError(f"'{path}' is an image of shape {image.shape}: expected grey, the class of each pixel")
    return image


def encode_png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """(H, W, 3) uint8 RGB, or (H, W) uint8 or uint16, as the content of a PNG file."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image)
    return data.tobytes()


def encode_indexed_png(labels: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]]) -> bytes:
    """(H, W) uint8 as the content of an indexed PNG file, whose palette (RGB) is within; 255 is black, or nearly.

    Unused entries repeat the first one, so each colour tells its first index.
    """
    palette = np.full((256, 3), colors[0], np.uint8)
    palette[: len(colors)] = colors
    palette[255] = next(grey for shade in range(256) if (grey := (shade, shade, shade)) not in colors)
    height, width = labels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter, none
    rows[:, 1:] = labels
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    pixels = zlib.compress(rows.tobytes())
    return _png([(b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", pixels), (b"IEND", b"")])


def write_png(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG file, as `encode_png` makes it, whole or not at all. Raises AsymformerError."""
    try:
        write_atomically(path, encode_png(image))
    except OSError as error:
        raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error


def decode_image(data: NDArray[np.uint8], flags: int, max_pixels: int = MAX_PIXELS) -> NDArray[Any] | None:
    """What cv2.imdecode makes of the (n,) bytes of a PNG or JPEG file; None where they are damaged, cut or none.

    Some versions of OpenCV answer with grey where a JPEG is cut; here a file without its end is no image. Raises
    FrameError where the file claims more pixels: that many would be allocated before anything is decoded.
    """
    width, height, whole = _claims(data.tobytes())
    if not whole:
        return None
    check_size(width, height, max_pixels)
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:
        return None


def decode_labels(data: NDArray[np.uint8]) -> NDArray[Any] | None:
    """As `decode_image`, unchanged; but of an indexed PNG (H, W) uint8, its indices, whatever their colours."""
    chunks = [chunk for chunk in png_chunks(data.tobytes()) if chunk[0] in (b"IHDR", b"IDAT", b"IEND")]
    header = bytes(chunks[0][1]) if chunks else b""
    if header[9:10] != _INDEXED or header[8] > 8:
        return decode_image(data, cv2.IMREAD_UNCHANGED)
    # OpenCV gives colours only. The same file, called grey, has the indices as shades, which it spreads to 255.
    grey = _png([(b"IHDR", header[:9] + _GREY + header[10:]), *chunks[1:]])
    shades = decode_image(np.frombuffer(grey, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if shades is None else shades // np.uint8(255 // ((1 << header[8]) - 1))


def png_chunks(raw: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and data of each chunk of a PNG file that is whole: IHDR, whose bytes 8 and 9 are bit depth and colour type,
    first. Nothing of another file."""
    at, view = len(PNG_MAGIC), memoryview(raw)
    while raw.startswith(PNG_MAGIC) and at + 12 <= len(raw):
        length, kind = _PNG_CHUNK.unpack_from(raw, at)
        if at + 12 + length > len(raw):
            return
        yield kind, view[at + 8 : at + 8 + length]
        at += 12 + length


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise FrameError for an image of more than `max_pixels`."""
    if width * height > max_pixels:
        raise FrameError(
            f"an image of {width}x{height} pixels: at most {max_pixels} are taken (the node's parameter max_pixels)"
        )


def _png(chunks: Iterable[tuple[bytes, bytes | memoryview]]) -> bytes:
    return PNG_MAGIC + b"".join(
        _PNG_CHUNK.pack(len(data), kind) + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
        for kind, data in chunks
    )


def _claims(raw: bytes) -> tuple[int, int, bool]:
    """Width, height and whether the end is there, as a PNG or JPEG file says; (0, 0, False) for another."""
    if raw.startswith(PNG_MAGIC):
        width, height = _PNG_SIZE.unpack_from(raw.ljust(_PNG_SIZE_AT + _PNG_SIZE.size, b"\0"), _PNG_SIZE_AT)
        return (
            width,
            height,
            any(kind == b"IEND" for kind, _ in png_chunks(raw)),
        )  # OpenCV allocates what a chunk claims
    return _jpeg_claims(raw) if raw.startswith(b"\xff\xd8") else (0, 0, False)


def _jpeg_claims(raw: bytes) -> tuple[int, int, bool]:
    """The same of a JPEG: its segments up to the first scan, then its end marker, which no scan can hold."""
    width = height = 0
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker, length = raw[at + 1], int.from_bytes(raw[at + 2 : at + 4], "big")
        if marker == _JPEG_SCAN:
            return width, height, raw.find(b"\xff\xd9", at) > 0
        if marker in _JPEG_FRAMES:
            height, width = _JPEG_SIZE.unpack_from(raw, at + 5)
        at += 1 if marker == 0xFF else 2 + length
    return width, height, False


def _read(path: File, decode: Callable[[NDArray[np.uint8]], NDArray[Any] | None]) -> NDArray[Any]:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise FrameError(f"'{path}' cannot be read: {error.strerror or error}") from error
    image = decode(data)
    if image is None:
        raise FrameError(f"'{path}' is not a readable image: it is damaged, or neither PNG nor JPEG")
    return image
