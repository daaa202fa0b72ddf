"""Label images as annotation tools write them: grey, or PNG with a palette, whose indices are the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.images import png_chunks, read_labels, read_rgb

_INDEXED = bytes((3,))  # colour type


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
        chunks = dict(png_chunks(path.read_bytes()))
    except OSError as error:
        raise FrameError(f"'{path}' cannot be read: {error.strerror}") from error
    if b"PLTE" not in chunks or chunks.get(b"IHDR", b"")[9:10] != _INDEXED:
        return None
    data = chunks[b"PLTE"]
    return np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)


def _indices(path: Path, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    weights = np.array([1 << 16, 1 << 8, 1])
    colours, first = np.unique(palette @ weights, return_index=True)
    pixels = read_rgb(path) @ weights
    at = np.searchsorted(colours, pixels).clip(0, len(colours) - 1)
    if not np.array_equal(colours[at], pixels):
        raise FrameError(f"'{path}' has colours that its palette has not: it is damaged")
    return first[at].astype(np.uint8)
