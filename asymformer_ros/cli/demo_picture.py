"""The picture that the demo leaves: camera, depth and overlay of one moment, side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import AsymformerError
from asymformer_ros.files import write_atomically
from asymformer_ros.frame import RgbdFrame

_CAPTION_HEIGHT = 24
_GAP = 4


def side_by_side(frame: RgbdFrame, overlay: NDArray[np.uint8], overlay_caption: str) -> NDArray[np.uint8]:
    """Camera, depth in colours (black where unknown) and overlay with captions.

    overlay: (H, W, 3) uint8 RGB. Returns (H + caption, 3 W + gaps, 3) uint8 RGB.
    """
    depth, near, far = _colored_depth(frame.depth)
    panels = [
        _captioned(frame.rgb, "camera"),
        _captioned(depth, f"depth, {near:.1f} m (red) to {far:.1f} m (blue)"),
        _captioned(overlay, overlay_caption),
    ]
    gap = np.full((panels[0].shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.hstack([panels[0], gap, panels[1], gap, panels[2]])


def write_png(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write beside the target, then rename: the file is whole or absent. Raises AsymformerError."""
    _, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    try:
        write_atomically(path, data.tobytes())
    except OSError as error:
        raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error


def _colored_depth(depth: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float, float]:
    known = np.isfinite(depth)
    near, far = (float(at) for at in np.percentile(depth[known], (1, 99))) if known.any() else (0.0, 1.0)
    closeness = (far - np.nan_to_num(depth, nan=far)) / max(far - near, 1e-3)
    colored = cv2.applyColorMap((np.clip(closeness, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    colored[~known] = 0
    return cv2.cvtColor(colored, cv2.COLOR_BGR2RGB), near, far  # type: ignore[return-value]


def _captioned(rgb: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    width = rgb.shape[1]
    strip = np.full((_CAPTION_HEIGHT, width, 3), 32, dtype=np.uint8)
    (needed, _), _ = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    scale = 0.5 * min(1.0, (width - 12) / needed)
    cv2.putText(strip, caption, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, scale, (240, 240, 240), 1, cv2.LINE_AA)
    return np.vstack([strip, rgb])
