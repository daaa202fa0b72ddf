"""Class colours over a camera's image, and the legend that names them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK, _TEXT = 32, (240, 240, 240)

# Pixels at scale 1.
_TEXT_SIZE = 0.5
_LINE, _BASELINE, _MARGIN = 24, 16, 6
_BETWEEN = 16


def blend(
    rgb: NDArray[np.uint8],
    color: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    alpha: float,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Mix (H, W, 3) camera and palette pixels, alpha 0..1 the palette's weight; unlabelled pixels show the camera.

    out: (H, W, 3) uint8 that takes the answer, a new array where it is None.
    """
    mixed = cv2.addWeighted(color, alpha, rgb, 1.0 - alpha, 0.0, dst=out)
    unlabelled = np.equal(labels, UNLABELLED).view(np.uint8)
    if cv2.countNonZero(unlabelled):
        cv2.copyTo(rgb, unlabelled, mixed)
    return mixed  # type: ignore[return-value]


def legend_strip(
    entries: Sequence[tuple[str, tuple[int, int, int]]], width: int, scale: float = 1.0
) -> NDArray[np.uint8]:
    """Squares of the colours (RGB) and the names beside them, in columns: (h, width, 3) uint8, h 0 without entries."""
    if not entries:
        return np.empty((0, width, 3), np.uint8)
    column = (_LINE + _BETWEEN) * scale + max(_text_width(name, scale) for name, _ in entries)
    across = max(1, int(width / column))
    strip = _strip(-(-len(entries) // across), width, scale)
    for number, (name, color) in enumerate(entries):
        top, left = number // across * _LINE * scale, number % across * column + _MARGIN * scale
        edges = [round(at) for at in (top + 5 * scale, top + 19 * scale, left, left + 14 * scale)]
        strip[edges[0] : edges[1], edges[2] : edges[3]] = color
        _write(strip, name, (left + 20 * scale, top + _BASELINE * scale), scale)
    return strip


def caption_strip(text: str, width: int, scale: float = 1.0) -> NDArray[np.uint8]:
    """One line of text, made smaller where it is wider than the strip: (h, width, 3) uint8."""
    strip = _strip(1, width, scale)
    fitting = min(1.0, (width - 2 * _MARGIN * scale) / _text_width(text, scale))
    _write(strip, text, (_MARGIN * scale, _BASELINE * scale), scale * fitting)
    return strip


def _strip(lines: int, width: int, scale: float) -> NDArray[np.uint8]:
    return np.full((round(lines * _LINE * scale), width, 3), _DARK, np.uint8)


def _text_width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, _FONT, _TEXT_SIZE * scale, max(1, round(scale)))[0][0]


def _write(strip: NDArray[np.uint8], text: str, corner: tuple[float, float], scale: float) -> None:
    """Text with its lower left corner at (x, y)."""
    place, thickness = (round(corner[0]), round(corner[1])), max(1, round(scale))
    cv2.putText(strip, text, place, _FONT, _TEXT_SIZE * scale, _TEXT, thickness, cv2.LINE_AA)
