"""Label images as annotation tools write them: grey, or PNG with a palette, whose indices are the labels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.images import read_labels, read_rgb

_CHUNK = struct.Struct(">I4s")
_FIRST_CHUNK, _COLOUR_TYPE, _PALETTE = 8, 25, 3  # of a PNG file


def read_label_image(path: Path) -> NDArray[np.uint8 | np.uint16]:
    """(H, W) as it is stored; of an image with a palette, the indices. Raises FrameError where it cannot be read.

    Of entries of one colour, which decoded pixels no longer tell apart, the first counts: it is the padding behind the
    classes that repeats.
    """
    palette = _palette(path)
    return read_labels(path) if palette is None else _indices(path, palette)


def _palette(path: Path) -> NDArray[np.uint8] | None:
    """(n, 3) RGB; None where the file has none."""
    try:
        with path.open("rb") as file:
            head = file.read(_COLOUR_TYPE + 1)
            if not head.startswith(b"\x89PNG") or head[_COLOUR_TYPE:] != bytes((_PALETTE,)):
                return None
            raw = head + file.read()
    except OSError as error:
        raise FrameError(f"'{path}' cannot be read: {error.strerror}") from error
    at = _FIRST_CHUNK
    while at + _CHUNK.size <= len(raw):
        length, kind = _CHUNK.unpack_from(raw, at)
        if kind == b"PLTE":
            data = raw[at + _CHUNK.size : at + _CHUNK.size + length]
            return np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)
        at += _CHUNK.size + length + 4
    return None


def _indices(path: Path, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    weights = np.array([1 << 16, 1 << 8, 1])
    colours, first = np.unique(palette @ weights, return_index=True)
    pixels = read_rgb(path) @ weights
    at = np.searchsorted(colours, pixels).clip(0, len(colours) - 1)
    if not np.array_equal(colours[at], pixels):
        raise FrameError(f"'{path}' has colours that its palette has not: it is damaged")
    return first[at].astype(np.uint8)
