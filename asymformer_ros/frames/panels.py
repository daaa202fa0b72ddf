"""Pictures of several images of one moment, with captions, and what their colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.overlay import caption_strip, legend_strip

_Picture = NDArray[np.uint8]
_GAP, _WHITE = 4, 255
_REFERENCE_WIDTH = 320  # of a panel whose text has scale 1


@dataclass(frozen=True)
class Panel:
    """One image, (H, W, 3) uint8 RGB, and the words above it."""

    image: _Picture
    caption: str


def compose(panels: Sequence[Panel], legend: Sequence[tuple[str, tuple[int, int, int]]]) -> _Picture:
    """Panels of one size in a row, four of them two by two, above the names and colours of the legend.

    Returns (H, W, 3) uint8 RGB.
    """
    width = panels[0].image.shape[1]
    scale = width / _REFERENCE_WIDTH
    columns = 2 if len(panels) == 4 else len(panels)
    pictures = [np.vstack([caption_strip(panel.caption, width, scale), panel.image]) for panel in panels]
    rows = [_join(pictures[start : start + columns], axis=1) for start in range(0, len(pictures), columns)]
    names = [legend_strip(legend, rows[0].shape[1], scale)] if legend else []
    return _join([*rows, *names], axis=0)


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
