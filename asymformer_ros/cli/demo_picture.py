"""The picture that the demo leaves: images of one moment with captions, and what their colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.models.labels import Color

_Picture = NDArray[np.uint8]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GAP = 4
_DARK, _WHITE, _TEXT = 32, 255, (240, 240, 240)

# Sizes for panels 320 pixels wide; they grow with the panels.
_REFERENCE_WIDTH = 320
_TEXT_SIZE = 0.5
_LINE, _BASELINE, _MARGIN = 24, 16, 6
_BETWEEN = 16


@dataclass(frozen=True)
class Panel:
    """One image, (H, W, 3) uint8 RGB, and the words above it."""

    image: _Picture
    caption: str


def compose(panels: Sequence[Panel], legend: Sequence[tuple[str, Color]]) -> _Picture:
    """Panels of one size in a row, four of them two by two, above the names and colours of the legend.

    Returns (H, W, 3) uint8 RGB.
    """
    unit = panels[0].image.shape[1] / _REFERENCE_WIDTH
    columns = 2 if len(panels) == 4 else len(panels)
    pictures = [np.vstack([_caption(panel, unit), panel.image]) for panel in panels]
    rows = [_join(pictures[start : start + columns], axis=1) for start in range(0, len(pictures), columns)]
    return _join([*rows, *_legend(legend, rows[0].shape[1], unit)], axis=0)


def depth_panel(depth: NDArray[np.float32]) -> Panel:
    """Depth (H, W) metres in colours, black where it is NaN."""
    known = np.isfinite(depth)
    near, far = (float(at) for at in np.percentile(depth[known], (1, 99))) if known.any() else (0.0, 1.0)
    closeness = (far - np.nan_to_num(depth, nan=far)) / max(far - near, 1e-3)
    colored = cv2.applyColorMap((np.clip(closeness, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    colored[~known] = 0
    image: _Picture = cv2.cvtColor(colored, cv2.COLOR_BGR2RGB)  # type: ignore[assignment]
    return Panel(image, f"depth: red {near:.1f} m, blue {far:.1f} m, black unknown")


def _join(pictures: Sequence[_Picture], axis: int) -> _Picture:
    """Put pictures of one height (axis 1) or width (axis 0) beside each other with white between them."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, _WHITE, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], axis=axis)


def _caption(panel: Panel, unit: float) -> _Picture:
    strip = np.full((round(_LINE * unit), panel.image.shape[1], 3), _DARK, np.uint8)
    fitting = min(1.0, (strip.shape[1] - 2 * _MARGIN * unit) / _width(panel.caption, unit))
    _write(strip, panel.caption, (_MARGIN * unit, _BASELINE * unit), unit * fitting)
    return strip


def _legend(legend: Sequence[tuple[str, Color]], width: int, unit: float) -> list[_Picture]:
    """Lines of coloured squares and names, in columns; none without names."""
    if not legend:
        return []
    column = (_LINE + _BETWEEN) * unit + max(_width(name, unit) for name, _ in legend)
    across = max(1, int(width / column))
    strip = np.full((round(-(-len(legend) // across) * _LINE * unit), width, 3), _DARK, np.uint8)
    for number, (name, color) in enumerate(legend):
        top, left = number // across * _LINE * unit, number % across * column + _MARGIN * unit
        edges = [round(at) for at in (top + 5 * unit, top + 19 * unit, left, left + 14 * unit)]
        strip[edges[0] : edges[1], edges[2] : edges[3]] = color
        _write(strip, name, (left + 20 * unit, top + _BASELINE * unit), unit)
    return [strip]


def _width(text: str, unit: float) -> int:
    return cv2.getTextSize(text, _FONT, _TEXT_SIZE * unit, max(1, round(unit)))[0][0]


def _write(strip: _Picture, text: str, corner: tuple[float, float], unit: float) -> None:
    """Text with its lower left corner at (x, y)."""
    place, thickness = (round(corner[0]), round(corner[1])), max(1, round(unit))
    cv2.putText(strip, text, place, _FONT, _TEXT_SIZE * unit, _TEXT, thickness, cv2.LINE_AA)
